"""The service for one person of this machine: a token in the path, a thread, a page or a frame."""
