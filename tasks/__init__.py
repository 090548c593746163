"""One operation a file, each a Task named by a verb."""
