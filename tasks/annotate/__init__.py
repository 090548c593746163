"""Annotation layers and segment properties from tables."""
