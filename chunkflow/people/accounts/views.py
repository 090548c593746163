"""Views of data sets that are kept: the last one of each person, and those with a short link."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass

import sqlalchemy as sa

from chunkflow.errors import BadInput, StorageError
from chunkflow.people.accounts import clock
from chunkflow.people.accounts.schema import LAST_VIEWS, LINKS

ID = re.compile("[a-z2-7]{10}")
LETTERS = 10
MOST_LETTERS = 2**20
"""In the state of a view."""
_KEEP = sa.text(
    "INSERT INTO last_views (person, dataset, state, at) VALUES (:person, :dataset, :state, :at) "
    "ON CONFLICT (person, dataset) DO UPDATE SET state = excluded.state, at = excluded.at"
)
_SHORTEN = sa.text(
    "INSERT INTO links (id, dataset, state, person, at) VALUES (:id, :dataset, :state, :person, :at) "
    "ON CONFLICT (id) DO NOTHING"
)


@dataclass(frozen=True)
class Link:
    """A view with a short link, and the person who made it first."""

    dataset: str
    state: str
    person: str
    at: str


def checked_state(state: str) -> str:
    """The state of a view, which is JSON."""
    if len(state) > MOST_LETTERS:
        raise BadInput(f"The state of a view is longer than {MOST_LETTERS:,} characters: it is not kept.")
    try:
        state.encode()
        json.loads(state)
    except (ValueError, RecursionError):
        raise BadInput("The state of a view must be a text in JSON.") from None
    return state


def keep_view(connection: sa.Connection, person: str, dataset: str, state: str) -> None:
    """Keep a view as the last one of a person, in place of the one before."""
    values = {"person": person, "dataset": dataset, "state": checked_state(state)}
    connection.execute(_KEEP, {**values, "at": clock.utc_text(clock.now())})


def last_view(connection: sa.Connection, person: str, dataset: str) -> str | None:
    """The state of a person's last view of a data set."""
    wanted = sa.select(LAST_VIEWS.c.state).filter_by(person=person, dataset=dataset)
    return connection.execute(wanted).scalar()


def shorten(connection: sa.Connection, person: str, dataset: str, state: str) -> str:
    """The id of a view's short link, which is made where it is new."""
    values = {"dataset": dataset, "state": checked_state(state), "person": person}
    for id in ids_of(dataset, state):
        connection.execute(_SHORTEN, {"id": id, **values, "at": clock.utc_text(clock.now())})
        found = link(connection, id)
        if found is not None and (found.dataset, found.state) == (dataset, state):
            return id
    raise StorageError("All short links that this view could have are those of other views.")


def link(connection: sa.Connection, id: str) -> Link | None:
    """The view of a short link."""
    columns = (LINKS.c.dataset, LINKS.c.state, LINKS.c.person, LINKS.c.at)
    row = connection.execute(sa.select(*columns).filter_by(id=id)).mappings().first()
    return Link(**row) if row else None


def ids_of(dataset: str, state: str) -> list[str]:
    """The ids that a view may have: the first, and others for the case that it is taken by another view."""
    content = hashlib.sha256(f"{dataset}\0{state}".encode()).digest()
    text = base64.b32encode(content).decode().lower().rstrip("=")
    return [text[start : start + LETTERS] for start in range(0, len(text) - LETTERS + 1, LETTERS)]
