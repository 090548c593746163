"""People with accounts: their roles, and the secrets that say who somebody is.

Grants and accounts are only changed by transactions that hold the audit log, hence one after the other.
A session begins with a change of its account's row, for which a revocation waits, and which fails behind one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from chunkflow.errors import BadInput
from chunkflow.people.accounts import clock
from chunkflow.people.accounts.audit import TERMINAL, append_line, machine_user
from chunkflow.people.accounts.roles import SESSION_DAYS, Grant, Person, Role, checked_name
from chunkflow.people.accounts.schema import ACCOUNTS, GRANTS, SESSIONS
from chunkflow.words import shortened

SEEN_AGAIN = timedelta(hours=1)
"""It is written down that somebody was seen, where the last time is as long ago."""
_SECRET = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Holder:
    """The person whose secret was shown, and when they were seen before."""

    person: Person
    seen: str

    @property
    def to_note(self) -> bool:
        """Whether it is time to write down that they were seen."""
        return not self.seen or clock.now() - datetime.fromisoformat(self.seen) >= SEEN_AGAIN


def add(connection: sa.Connection, name: str, role: Role, dataset: str) -> str | None:
    """Give a person a role; the token of an account that is new."""
    append_line(connection, machine_user(), TERMINAL, "add", f"{name}: {role}{_of(dataset)}")
    now = clock.utc_text(clock.now())
    token = None
    if connection.execute(sa.select(ACCOUNTS.c.name).filter_by(name=name)).first() is None:
        token = secrets.token_hex(32)
        connection.execute(ACCOUNTS.insert().values(name=name, token=hashed(token), since=now, seen=""))
    where = sa.and_(GRANTS.c.person == name, GRANTS.c.dataset == dataset)
    held = connection.execute(sa.select(GRANTS.c.role).where(where)).scalar()
    if held is None:
        connection.execute(GRANTS.insert().values(person=name, dataset=dataset, role=int(role), since=now))
    elif held != role:
        connection.execute(GRANTS.update().where(where).values(role=int(role), since=now))
    return token


def revoke(connection: sa.Connection, name: str, dataset: str) -> None:
    """Take a role from a person, or the account; it goes with the last role, too."""
    append_line(connection, machine_user(), TERMINAL, "revoke", f"{name}{_of(dataset)}")
    own = GRANTS.c.person == name
    if dataset:
        if not connection.execute(GRANTS.delete().where(own, GRANTS.c.dataset == dataset)).rowcount:
            raise BadInput(
                f"{shortened(name, 64)} has no role of their own for {dataset}: nothing was revoked."
            )
        if connection.execute(sa.select(GRANTS.c.role).where(own)).first():
            return
    if not connection.execute(ACCOUNTS.delete().where(ACCOUNTS.c.name == name)).rowcount:
        raise BadInput(f"{shortened(name, 64)} has no account: nothing was revoked.")
    connection.execute(SESSIONS.delete().where(SESSIONS.c.person == name))
    connection.execute(GRANTS.delete().where(own))


def grants(connection: sa.Connection) -> list[Grant]:
    """All roles that people have."""
    columns = (ACCOUNTS.c.name, GRANTS.c.dataset, GRANTS.c.role, GRANTS.c.since, ACCOUNTS.c.seen)
    joined = sa.select(*columns).join(GRANTS, GRANTS.c.person == ACCOUNTS.c.name)
    rows = connection.execute(joined)
    return sorted(Grant(name, dataset, Role(role), since, seen) for name, dataset, role, since, seen in rows)


def any_account(connection: sa.Connection) -> bool:
    """Whether there is any account."""
    return connection.execute(sa.select(ACCOUNTS.c.name).limit(1)).first() is not None


def holder(connection: sa.Connection, where: sa.ColumnElement[bool]) -> Holder | None:
    """The person whose account it is."""
    columns = (ACCOUNTS.c.name, ACCOUNTS.c.seen, GRANTS.c.dataset, GRANTS.c.role)
    wanted = sa.select(*columns).join(GRANTS, GRANTS.c.person == ACCOUNTS.c.name).where(where)
    rows = connection.execute(wanted).all()
    if not rows:
        return None
    name, seen = rows[0][:2]
    return Holder(Person(name, {dataset: Role(role) for _, _, dataset, role in rows}), seen)


def has_secret(secret: str) -> sa.ColumnElement[bool]:
    """True of the account that has a token, or a session that is valid now."""
    session = sa.select(SESSIONS.c.person).where(
        SESSIONS.c.secret == hashed(secret), SESSIONS.c.until > _seconds(clock.now())
    )
    return sa.or_(ACCOUNTS.c.token == hashed(secret), ACCOUNTS.c.name == session.scalar_subquery())


def note_seen(connection: sa.Connection, held: Holder) -> None:
    """Write down that somebody was seen now, unless another process has done so."""
    where = sa.and_(ACCOUNTS.c.name == held.person.name, ACCOUNTS.c.seen == held.seen)
    connection.execute(ACCOUNTS.update().where(where).values(seen=clock.utc_text(clock.now())))


def begin_session(connection: sa.Connection, name: str) -> str:
    """The secret of a new session of a person."""
    now = clock.now()
    own = ACCOUNTS.update().where(ACCOUNTS.c.name == checked_name(name))
    if not connection.execute(own.values(seen=clock.utc_text(now))).rowcount:
        raise BadInput(f"{name} has no account: no session begins.")
    ended = sa.and_(SESSIONS.c.person == name, SESSIONS.c.until <= _seconds(now))
    connection.execute(SESSIONS.delete().where(ended))
    secret = secrets.token_hex(32)
    until = _seconds(now + timedelta(days=SESSION_DAYS))
    connection.execute(SESSIONS.insert().values(secret=hashed(secret), person=name, until=until))
    return secret


def end_session(connection: sa.Connection, secret: str) -> None:
    """Make the secret of a session worthless."""
    connection.execute(SESSIONS.delete().where(SESSIONS.c.secret == hashed(secret)))


def is_secret(text: str) -> bool:
    """Whether a text may be a secret at all; other texts are as good as not read."""
    return _SECRET.fullmatch(text) is not None


def hashed(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _of(dataset: str) -> str:
    return f" of {dataset}" if dataset else ""
