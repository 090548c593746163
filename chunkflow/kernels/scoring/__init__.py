"""Kernels that compare results with the truth: matching, scores, agreement, tuning."""
