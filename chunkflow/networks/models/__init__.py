"""Models that come along with chunkflow, each with its card, and how they are found by name."""
