"""Files as answers: those of layers, of the client, and our own scripts."""
