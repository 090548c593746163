"""Cells: segmented, measured, classified, compared."""
