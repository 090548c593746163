"""Lists of objects that programs ask people to look at, by name; and objects that people disagree on."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from chunkflow.people.database import Database
from chunkflow.people.review.log.edits import unsigned
from chunkflow.people.review.log.schema import EDITS, LISTS, UNDONE
from chunkflow.people.review.log.taking import hold_log


class ObjectLists:
    """The lists of all reviewed tables in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, table: int, name: str, ids: Sequence[int]) -> None:
        """Keep a list in place of the former one of its name; without ids there is none any more."""
        with self._database.write() as connection:
            hold_log(connection)
            connection.execute(LISTS.delete().where(LISTS.c.table_id == table, LISTS.c.name == name))
            if ids:
                content = json.dumps([str(id) for id in ids])
                connection.execute(LISTS.insert().values(table_id=table, name=name, ids=content))

    def names(self, table: int) -> list[str]:
        """The names of all lists of a table, sorted."""
        with self._database.read() as connection:
            return sorted(
                connection.execute(sa.select(LISTS.c.name).where(LISTS.c.table_id == table)).scalars()
            )

    def ids(self, table: int, name: str) -> list[int] | None:
        """The objects of a list, in its order; None where there is no such list."""
        wanted = sa.select(LISTS.c.ids).where(LISTS.c.table_id == table, LISTS.c.name == name)
        with self._database.read() as connection:
            found = connection.execute(wanted).scalar()
        return None if found is None else [int(text) for text in json.loads(found)]

    def disagreed(self, table: int) -> list[int]:
        """The objects on which people's last decisions differ, undone ones left out, by rising id."""
        several = (
            sa.select(EDITS.c.object)
            .where(EDITS.c.table_id == table)
            .group_by(EDITS.c.object)
            .having(sa.func.count(sa.distinct(EDITS.c.person)) > 1)
        )
        wanted = (
            sa.select(EDITS.c.object, EDITS.c.person, EDITS.c.after)
            .where(EDITS.c.table_id == table, EDITS.c.operation.in_(("accept", "reject", "class")))
            .where(EDITS.c.object.in_(several), EDITS.c.seq.not_in(sa.select(UNDONE.c.edit)))
            .order_by(EDITS.c.seq)
        )
        said: dict[int, dict[str, tuple[str, str]]] = {}
        with self._database.read() as connection:
            for object, person, after in connection.execute(wanted):
                fields = json.loads(after)
                decision = fields["status"], fields.get("class", "")
                said.setdefault(unsigned(object), {})[person] = decision
        return sorted(id for id, by in said.items() if len(set(by.values())) > 1)
