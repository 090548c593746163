"""Objects of a table, reviewed by several people: a log of edits, and what follows from it."""
