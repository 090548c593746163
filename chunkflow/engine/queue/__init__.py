"""Queues of ranges of ready cells, and the schedule that fills them."""
