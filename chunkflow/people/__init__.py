"""What people look at, mark, judge and correct."""
