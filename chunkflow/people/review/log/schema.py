"""Tables of a review in the database.

`reviewed_tables`, `edits` and `counters` are the truth. `objects` and `undone` follow from the edits; they
are written in the same transaction, so that nobody reads through the log to learn what is current. What is in
`leases` counts for minutes only.
"""

from __future__ import annotations

import sqlalchemy as sa

from chunkflow.people.database import ROW_NUMBER

METADATA = sa.MetaData()

REVIEWED_TABLES = sa.Table(
    "reviewed_tables",
    METADATA,
    sa.Column("id", ROW_NUMBER, primary_key=True, autoincrement=False),
    sa.Column("work", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("generation", sa.Text, nullable=False),
    sa.UniqueConstraint("work", "name", "generation"),
)

EDITS = sa.Table(
    "edits",
    METADATA,
    sa.Column("seq", ROW_NUMBER, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("table_id", sa.BigInteger, nullable=False),
    sa.Column("object", sa.BigInteger, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("undoes", sa.BigInteger),
    sa.Column("seen", sa.BigInteger),
    sa.Index("edits_of_object", "table_id", "object", "seq"),
    sa.Index("edits_of_person", "table_id", "person", "seq"),
)

COUNTERS = sa.Table(
    "counters",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
"""The last number given to an edit and to a table. Numbers are given inside the transaction that uses them,
which holds the row until it ends: so they have no gaps, and rise in the order of the commits. Leases have no
numbers, but a row that is held while one is taken."""

OBJECTS = sa.Table(
    "objects",
    METADATA,
    sa.Column("table_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("object", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("top", sa.BigInteger),  # the last edit that is not undone
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

UNDONE = sa.Table(
    "undone",
    METADATA,
    sa.Column("edit", ROW_NUMBER, primary_key=True, autoincrement=False),
    sa.Column("table_id", sa.BigInteger, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("by", sa.BigInteger, nullable=False),  # the undo
    sa.Column("below", sa.BigInteger),  # the object's last edit that is not undone, as the undo left it
    sa.Column("redoable", sa.Boolean, nullable=False),
    sa.Index("undone_of_person", "table_id", "person", "by"),
)

LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("table_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("object", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("until", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

LISTS = sa.Table(
    "lists",
    METADATA,
    sa.Column("table_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("ids", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
