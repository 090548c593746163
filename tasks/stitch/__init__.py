"""Overlapping tiles stitched to one volume."""
