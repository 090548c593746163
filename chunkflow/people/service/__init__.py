"""Data sets and what people do with them, served to browsers."""
