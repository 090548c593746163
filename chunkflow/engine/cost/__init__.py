"""Time, memory and money that a job takes: estimated before, measured while it runs."""
