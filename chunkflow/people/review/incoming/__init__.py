"""Decisions that come from elsewhere: from a file that was edited, and from a table that was made before."""
