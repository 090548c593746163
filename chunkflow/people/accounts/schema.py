"""Tables of the accounts in the database.

1. An account has one token, and at least one grant: with the last grant it goes, and its sessions with it.
2. Of a secret only the SHA-256 is kept. Secrets have 256 random bits, so that it need not be a slow one.
3. Lines of the audit log can be added, and nothing else: the database itself refuses to change or delete one.
"""

from __future__ import annotations

import sqlalchemy as sa

from chunkflow.people.database import ROW_NUMBER

METADATA = sa.MetaData()

ACCOUNTS = sa.Table(
    "accounts",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("token", sa.Text, nullable=False, unique=True),
    sa.Column("since", sa.Text, nullable=False),
    sa.Column("seen", sa.Text, nullable=False),  # empty where never
)

GRANTS = sa.Table(
    "grants",
    METADATA,
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, primary_key=True),
    sa.Column("role", sa.Integer, nullable=False),
    sa.Column("since", sa.Text, nullable=False),
)

SESSIONS = sa.Table(
    "sessions",
    METADATA,
    sa.Column("secret", sa.Text, primary_key=True),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),  # seconds since 1970
    sa.Index("sessions_of_person", "person"),
)

AUDIT = sa.Table(
    "audit",
    METADATA,
    sa.Column("number", ROW_NUMBER, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
)

AUDIT_COUNTER = sa.Table(
    "audit_counter",
    METADATA,
    sa.Column("id", ROW_NUMBER, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)
"""One row with the number of the last line. Numbers are given inside the transaction that uses them, which
holds the row until it ends: so they have no gaps, and rise in the order of the commits."""

LAST_VIEWS = sa.Table(
    "last_views",
    METADATA,
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)

LINKS = sa.Table(
    "links",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("person", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)

_REFUSED = "the audit log can only be added to"
_OF_SQLITE = (
    *(
        f"CREATE TRIGGER audit_no_{event.lower()} BEFORE {event} ON audit "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        for event in ("UPDATE", "DELETE")
    ),
    # INSERT OR REPLACE deletes a row and fires no trigger of a DELETE
    "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit "
    "WHEN NEW.number <= (SELECT max(number) FROM audit) "
    f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END",
)
_OF_POSTGRESQL = (
    "CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$",
    "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()",
)
for _dialect, _statements in (("sqlite", _OF_SQLITE), ("postgresql", _OF_POSTGRESQL)):
    for _statement in _statements:
        _made = sa.DDL(_statement)  # type: ignore[no-untyped-call]
        sa.event.listen(AUDIT, "after_create", _made.execute_if(dialect=_dialect))


def begin_audit(connection: sa.Connection) -> None:
    """Let the numbers of the audit log begin, where it is new."""
    if connection.execute(sa.select(AUDIT_COUNTER.c.id)).first() is None:
        connection.execute(AUDIT_COUNTER.insert().values(id=1, value=0))
