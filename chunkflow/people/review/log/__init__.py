"""The log of edits in a database: append-only, and the one truth of what people have decided."""
