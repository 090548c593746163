"""Kernels on images: filters, thresholds, light, registration, pooling."""
