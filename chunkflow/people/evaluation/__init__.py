"""Evaluation of what was found against the truth."""
