"""Examples: what a network is given in each step, a function of the seed, the step and a number alone."""
