"""Commands that bring data in, out and to the screen."""
