"""The engine: chunks planned, offered, done and recorded."""
