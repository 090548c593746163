"""Synthetic tissue, and its images as a microscope takes them."""
