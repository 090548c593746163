"""Augmentation: patches turned, stretched, lit and disturbed, by numbers drawn from a generator."""
