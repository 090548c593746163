"""The worker: one cell after another through read, map and write."""
