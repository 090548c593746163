"""Figures of quality on real volumes: cells found, told apart, tuned; tiles placed."""
