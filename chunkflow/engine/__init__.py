"""Chunks: planned, offered, done, recorded."""
