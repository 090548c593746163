"""Plain weights and graphs made into model files."""
