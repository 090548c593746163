"""chunkflow: brain-imaging volumes, chunk by chunk, the same answer however they were cut."""

__version__ = "0.1.0"
