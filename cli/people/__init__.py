"""Commands for marking, judging and learning."""
