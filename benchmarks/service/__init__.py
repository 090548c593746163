"""The web service beside nginx, and with many people at once."""
