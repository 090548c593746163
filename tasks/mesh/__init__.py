"""Meshes of labelled objects, at several levels of detail."""
