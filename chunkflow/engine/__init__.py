"""The engine: chunks are planned, offered, done and recorded."""
