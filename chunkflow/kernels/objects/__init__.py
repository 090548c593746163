"""Kernels on labelled objects: watershed, moments, statistics."""
