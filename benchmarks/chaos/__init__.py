"""Attacks on whole jobs, at random: what came of each, counted."""
