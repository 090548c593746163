"""Commands that plan, run and follow jobs."""
