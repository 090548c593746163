"""What is done: the truth from which a job is resumed, shown and reported."""
