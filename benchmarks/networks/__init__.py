"""Figures of networks: inference beside the bare network and MONAI, and what a cut changes."""
