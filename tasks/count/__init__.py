"""Counts of objects by region of an atlas."""
