"""Kernels of the precomputed format: Morton codes, shards, spatial indexes of annotations."""
