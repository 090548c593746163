"""Training of networks: recipes, examples, the loop, its state, and scores on what was not learnt from."""
