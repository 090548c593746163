"""Leases: which object lies before whom, so that two people are not given the same one at a time.

They lie in the database, as several processes may serve one review. A lease says nothing of what was decided,
and hinders nobody who comes to an object by other ways.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from chunkflow.people.database import Database
from chunkflow.people.review.log.edits import signed, time_text, unsigned
from chunkflow.people.review.log.schema import LEASES
from chunkflow.people.review.log.taking import next_number

LEASE = timedelta(minutes=2)
Choice = Callable[[set[int]], int | None]
"""Chooses an object that is none of those given; None where there is no other."""


class ObjectLeases:
    """The leases of all reviewed tables in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, table: int, person: str, choose: Choice, now: datetime | None = None) -> int | None:
        """Lease the object that `choose` gives, which is told those that others have.

        Nobody else takes a lease meanwhile. A person's own leases are not told, and one that is taken again
        begins anew.
        """
        now = now or datetime.now(UTC)
        with self._database.write() as connection:
            next_number(connection, "lease", take=False)
            of_table = LEASES.c.table_id == table
            connection.execute(LEASES.delete().where(of_table, LEASES.c.until <= time_text(now)))
            others = sa.select(LEASES.c.object).where(of_table, LEASES.c.person != person)
            chosen = choose({unsigned(id) for id in connection.execute(others).scalars()})
            if chosen is not None:
                connection.execute(LEASES.delete().where(of_table, LEASES.c.object == signed(chosen)))
                values = {"table_id": table, "object": signed(chosen), "person": person}
                connection.execute(LEASES.insert().values(**values, until=time_text(now + LEASE)))
            return chosen
