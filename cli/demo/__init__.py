"""Demonstrations on synthetic brains."""
