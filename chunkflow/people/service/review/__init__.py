"""The review of a table over HTTP: its page, its objects, edits in both directions."""
