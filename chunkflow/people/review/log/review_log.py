"""The log of edits: append-only, and the one truth of what people have decided.

1. Appending: edits that come from any thread are committed together by one thread of the process, as SQLite's
   lock is not fair; each is acknowledged once it is durable.
2. Numbers have no gaps and rise in the order of commits, so that who reads all behind a number misses none.
3. What is current is kept beside the log, in the same transaction; `check` rebuilds it and compares.
"""

from __future__ import annotations

from concurrent.futures import Future

import sqlalchemy as sa

from chunkflow.people.database import Database
from chunkflow.people.review.log.checking import faults_of
from chunkflow.people.review.log.edits import (
    Edit,
    ObjectState,
    ReviewedObject,
    ReviewedTable,
    signed,
    unsigned,
)
from chunkflow.people.review.log.effects import UNTOUCHED
from chunkflow.people.review.log.leases import ObjectLeases
from chunkflow.people.review.log.lists import ObjectLists
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.log.schema import COUNTERS, EDITS, METADATA, OBJECTS, REVIEWED_TABLES, UNDONE
from chunkflow.people.review.log.taking import begin_counters, hold_log, next_number
from chunkflow.people.review.log.writer import LogWriter


class ReviewLog:
    """The edits of all reviewed tables in a database."""

    @classmethod
    def open(cls, database: str) -> ReviewLog:
        """The log in the database at a path or URL."""
        return cls(Database.open(database))

    def __init__(self, database: Database) -> None:
        database.create(METADATA, begin_counters)
        self._database = database
        self._writer = LogWriter(database)
        self.leases = ObjectLeases(database)
        self.lists = ObjectLists(database)

    def table(self, work: str, name: str, generation: str) -> int:
        """The number of a table, which is given to it at the first time."""
        wanted = {"work": work, "name": name, "generation": generation}
        with self._database.write() as connection:
            hold_log(connection)
            found = connection.execute(sa.select(REVIEWED_TABLES.c.id).filter_by(**wanted)).scalar()
            if found is None:
                found = next_number(connection, "table")
                connection.execute(REVIEWED_TABLES.insert().values(id=found, **wanted))
            return int(found)

    def find(self, work: str, name: str, generation: str) -> int | None:
        """The number of a table; None where it has none yet."""
        wanted = sa.select(REVIEWED_TABLES.c.id).filter_by(work=work, name=name, generation=generation)
        with self._database.read() as connection:
            found = connection.execute(wanted).scalar()
        return None if found is None else int(found)

    def tables(self) -> list[ReviewedTable]:
        """All tables that are or were reviewed."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(REVIEWED_TABLES).order_by(REVIEWED_TABLES.c.id))
            return [ReviewedTable(**row) for row in rows.mappings()]

    def submit(self, table: int, person: str, proposed: ProposedEdit) -> Future[Edit]:
        """Append an edit; the future has it as it stands in the log, once it is durable there.

        An edit whose key is in the log already is not written again: the one of then is given. The future
        raises Refused, with the edit that stands in the way, or StorageError, after which it may be asked for
        again.
        """
        return self._writer.submit(table, person, proposed)

    def append(self, table: int, person: str, proposed: ProposedEdit) -> Edit:
        """Append an edit, and wait until it is durable."""
        return self.submit(table, person, proposed).result()

    def edits(
        self, table: int, since: int = 0, until: int | None = None, object: int | None = None
    ) -> list[Edit]:
        """The edits of a table behind the number `since`, up to `until`; of one object only."""
        wanted = sa.select(EDITS).where(EDITS.c.table_id == table, EDITS.c.seq > since).order_by(EDITS.c.seq)
        if until is not None:
            wanted = wanted.where(EDITS.c.seq <= until)
        if object is not None:
            wanted = wanted.where(EDITS.c.object == signed(object))
        with self._database.read() as connection:
            return [Edit.from_row(row) for row in connection.execute(wanted).mappings()]

    def current(self, table: int) -> dict[int, ReviewedObject]:
        """What is current of the objects of a table that anything was said of."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(OBJECTS).where(OBJECTS.c.table_id == table)).mappings()
            return {unsigned(row["object"]): ReviewedObject.from_row(row) for row in rows}

    def decided(self, table: int) -> dict[str, int]:
        """How many objects of a table are accepted or rejected, by the person who said so last."""
        state = OBJECTS.c.state
        said = sa.or_(*(state.contains(f'"status":"{status}"') for status in ("accepted", "rejected")))
        wanted = (
            sa.select(OBJECTS.c.person, sa.func.count())
            .where(OBJECTS.c.table_id == table, said, sa.not_(state.contains('"deleted":true')))
            .group_by(OBJECTS.c.person)
        )
        with self._database.read() as connection:
            return {person: int(count) for person, count in connection.execute(wanted)}

    def at(self, table: int, seq: int) -> dict[int, ReviewedObject]:
        """What was current after an edit, from the log alone."""
        states: dict[int, dict[str, object]] = {}
        last: dict[int, Edit] = {}
        for edit in self.edits(table, until=seq):
            states[edit.object] = {**states.get(edit.object, UNTOUCHED), **edit.after}
            last[edit.object] = edit
        return {
            id: ReviewedObject(edit.seq, ObjectState.from_json(states[id]), edit.person, edit.at)
            for id, edit in last.items()
        }

    def last(self) -> int:
        """The number of the last edit; 0 where there is none."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(COUNTERS.c.value).where(COUNTERS.c.name == "edit")).scalar()
        return int(found or 0)

    def check(self) -> list[str]:
        """Sentences on what does not follow from the log; none where all is well."""
        with self._database.read() as connection:
            edits = [Edit.from_row(row) for row in connection.execute(sa.select(EDITS)).mappings()]
            objects = list(connection.execute(sa.select(OBJECTS)).mappings())
            undone = list(connection.execute(sa.select(UNDONE)).mappings())
        return faults_of(sorted(edits, key=lambda edit: edit.seq), objects, undone)

    def is_replaced(self) -> bool:
        """Whether the file with the log is gone, or is another now."""
        return self._database.is_replaced()

    def close(self) -> None:
        """Write what waits, and close the database."""
        self._writer.close()
        self._database.close()
