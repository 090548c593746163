"""From a job file to the cells of its stages, and which of them wait for which."""
