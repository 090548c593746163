"""A job as its owner has it: put together, run, followed and resumed."""
