"""The accounts of a service in one database, which any number of serving processes use at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from chunkflow.errors import BadInput, StorageError
from chunkflow.people.accounts import audit, people, views
from chunkflow.people.accounts.audit import AuditLine
from chunkflow.people.accounts.roles import NAME, Grant, Person, Role, checked_dataset, checked_name
from chunkflow.people.accounts.schema import ACCOUNTS, METADATA, begin_audit
from chunkflow.people.accounts.views import ID, Link
from chunkflow.people.database import NETWORKED, Database, file_system


class Accounts:
    """People of a service: their roles, tokens and sessions, the audit log, and their views of data sets.

    >>> accounts = Accounts.open(folder / "service.sqlite")
    >>> token = accounts.add("ann", "review", "rat7")
    >>> accounts.holder(token).may(Role.REVIEW, "rat7")
    True
    >>> accounts.revoke("ann")
    >>> accounts.holder(token) is None
    True
    >>> [f"{line.action} {line.subject}" for line in accounts.audit()]
    ['add ann: review of rat7', 'revoke ann']
    >>> accounts.close()
    """

    @classmethod
    def open(cls, database: str | Path = "") -> Accounts:
        """The accounts in a database: the path of a file, or postgresql://USER@HOST/NAME.

        By default it is service.sqlite in ~/.config/chunkflow, which only its owner may read.
        """
        return cls(Database.open(database or default_place()))

    def __init__(self, database: Database) -> None:
        try:
            database.create(METADATA, begin_audit)
        except BaseException:
            database.close()
            raise
        self._database = database

    def add(self, name: str, role: Role | str, dataset: str = "") -> str | None:
        """Give a person a role for a data set, or for all; of a person who is new, the token is returned.

        It is not kept, and cannot be had again. A role that the person has for the same is replaced.
        """
        role = Role(role) if isinstance(role, Role) else Role.named(role)
        checked_name(name)
        checked_dataset(dataset)
        with self._database.write() as connection:
            return people.add(connection, name, role, dataset)

    def grants(self) -> list[Grant]:
        """All roles that people have, by name and data set."""
        with self._database.read() as connection:
            return people.grants(connection)

    def revoke(self, name: str, dataset: str = "") -> None:
        """Take a person's role for a data set; without a data set, all roles.

        With the last role the token and all sessions of the person end.
        """
        checked_name(name)
        checked_dataset(dataset)
        with self._database.write() as connection:
            people.revoke(connection, name, dataset)

    def any(self) -> bool:
        """Whether there is any account."""
        with self._database.read() as connection:
            return people.any_account(connection)

    def person(self, name: str) -> Person | None:
        """The person of that name, for whom somebody else vouches, as a proxy where they log in."""
        return self._seen(ACCOUNTS.c.name == name) if NAME.fullmatch(name) else None

    def holder(self, secret: str) -> Person | None:
        """The person whose token it is, or whose session, if it is valid now."""
        return self._seen(people.has_secret(secret)) if people.is_secret(secret) else None

    def _seen(self, where: sa.ColumnElement[bool]) -> Person | None:
        """The person of an account, of whom it is written down when they were seen."""
        with self._database.read() as connection:
            held = people.holder(connection, where)
        if held is None:
            return None
        if held.to_note:
            with suppress(StorageError), self._database.write() as connection:  # nobody is kept out for it
                people.note_seen(connection, held)
        return held.person

    def begin_session(self, name: str) -> str:
        """The secret of a new session of a person, valid for 30 days."""
        with self._database.write() as connection:
            return people.begin_session(connection, checked_name(name))

    def end_session(self, secret: str) -> None:
        """End the session with that secret, if there is one."""
        if people.is_secret(secret):
            with self._database.write() as connection:
                people.end_session(connection, secret)

    def record(self, person: str, origin: str, action: str, subject: str = "") -> None:
        """Add a line to the audit log: who did what, from where, on what."""
        with self._database.write() as connection:
            audit.append_line(connection, person, origin, action, subject)

    def audit(self, since: int = 0, limit: int = 1000) -> list[AuditLine]:
        """The first lines of the audit log behind the number `since`; numbers have no gaps."""
        with self._database.read() as connection:
            return audit.lines(connection, since, limit)

    def keep_view(self, person: str, dataset: str, state: str) -> None:
        """Keep a state, in JSON, as a person's last view of a data set."""
        with self._database.write() as connection:
            views.keep_view(connection, person, checked_dataset(dataset), state)

    def view(self, person: str, dataset: str) -> str | None:
        """A person's last view of a data set."""
        with self._database.read() as connection:
            return views.last_view(connection, person, checked_dataset(dataset))

    def shorten(self, person: str, dataset: str, state: str) -> str:
        """The id of a short link to a view of a data set: 10 letters and digits, always the same."""
        with self._database.write() as connection:
            return views.shorten(connection, person, checked_dataset(dataset), state)

    def link(self, id: str) -> Link | None:
        """The view that a short link leads to."""
        if not ID.fullmatch(id):
            return None
        with self._database.read() as connection:
            return views.link(connection, id)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def default_place() -> Path:
    """The database of this user, whose file is made where it is missing, as nobody else may read it."""
    try:
        folder = Path.home() / ".config" / "chunkflow"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / "service.sqlite"
        if file_system(folder) not in NETWORKED:  # there the database is refused, and nothing is to lie there
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
    except (OSError, RuntimeError) as error:
        raise BadInput(
            f"There is no place for the accounts of this user ({error}): give `database`."
        ) from error
    return file
