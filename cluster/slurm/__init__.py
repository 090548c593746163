"""Clusters on SLURM."""
