"""Trained networks: model files, architectures, normalisation, and inference that no cut changes."""
