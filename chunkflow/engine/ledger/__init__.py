"""The record of what is done, from which a job is resumed, shown and reported."""
