"""Figures beside those of peers, taken in one run on one machine."""
