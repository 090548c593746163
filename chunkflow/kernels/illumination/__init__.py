"""Uneven light: found in images, and taken out of them."""
