"""The audit log: one line for each thing that somebody did, which nobody changes afterwards."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass

import sqlalchemy as sa

from chunkflow.people.accounts import clock
from chunkflow.people.accounts.schema import AUDIT, AUDIT_COUNTER
from chunkflow.words import shortened

TERMINAL = "terminal"
"""The origin of what is done on the machine itself."""
MOST_LETTERS = 1000
"""In a field of a line; the rest is left out, as a line must never fail."""

_LARGEST = 2**63 - 1
"""Number that a database can be asked for."""


@dataclass(frozen=True)
class AuditLine:
    """A line of the audit log: who did what, from where, on what."""

    number: int
    at: str
    person: str
    origin: str
    action: str
    subject: str


def append_line(connection: sa.Connection, person: str, origin: str, action: str, subject: str) -> None:
    """Add a line in the transaction, which holds the log, and with it all grants, until it ends."""
    connection.execute(AUDIT_COUNTER.update().values(value=AUDIT_COUNTER.c.value + 1))
    number = connection.execute(sa.select(AUDIT_COUNTER.c.value)).scalar_one()
    said = {"person": person, "origin": origin, "action": action, "subject": subject}
    values = {name: shortened(text[: MOST_LETTERS + 1], MOST_LETTERS) for name, text in said.items()}
    connection.execute(AUDIT.insert().values(number=number, at=clock.utc_text(clock.now()), **values))


def lines(connection: sa.Connection, since: int, limit: int) -> list[AuditLine]:
    """The first lines behind the number `since`."""
    behind, most = (max(0, min(number, _LARGEST)) for number in (since, limit))
    wanted = sa.select(AUDIT).where(AUDIT.c.number > behind).order_by(AUDIT.c.number).limit(most)
    return [AuditLine(**row) for row in connection.execute(wanted).mappings()]


def machine_user() -> str:
    """The user of this machine, by name, or by number where they have none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"user {os.getuid()}"
