"""Kernels that make synthetic tissue, cells and tiles, and image them."""
