"""Folders, volumes and tables as they lie on disks and in buckets."""
