"""Volumes: ingested, copied, downsampled."""
