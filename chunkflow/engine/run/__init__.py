"""The runner of a job: its loop, its retry policy, its outputs."""
