"""A job as its owner has it: put together, run, looked at, resumed."""
