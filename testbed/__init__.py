"""Simulated workers, stand-in servers and data of known truth, shared by tests and benchmarks."""
