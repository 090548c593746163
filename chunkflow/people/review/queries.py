"""Orders in which the objects of a table are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chunkflow.errors import BadInput
from chunkflow.people.review.objects import TableObjects

Numbers = npt.NDArray[np.int64]
TO_LEARN = "learn"
"""The query, and the list, of objects whose class a learner wants to know next."""


@dataclass(frozen=True)
class Query:
    """A choice of objects, in an order."""

    name: str
    title: str
    numbers: Numbers
    """The objects by their position in the table."""
    decided: bool = False
    """Whether objects that are decided are gone through, too."""

    def next(self, open: npt.NDArray[np.bool_], after: int | None) -> int | None:
        """The next object that is open, behind the object `after`, from the beginning again at the end."""
        if not len(self.numbers):
            return None
        at = np.flatnonzero(self.numbers == (-1 if after is None else after))
        start = int(at[0]) + 1 if len(at) else 0
        for part in (self.numbers[start:], self.numbers[:start]):
            wanted = open[part]
            if wanted.any():
                return int(part[wanted.argmax()])
        return None

    def behind(
        self, open: npt.NDArray[np.bool_], number: int | None, former: int | None, count: int
    ) -> list[int]:
        """So many open objects behind an object `number`, without it and the one before it."""
        open = open.copy()
        open[[one for one in (number, former) if one is not None]] = False
        found: list[int] = []
        while len(found) < count and (another := self.next(open, number)) is not None:
            open[another] = False
            found.append(another)
            number = another
        return found


def queries_of(objects: TableObjects) -> Mapping[str, Query]:
    """The queries that make sense for a table, by name."""
    by_space: Numbers = np.arange(len(objects))
    found: list[Query] = [Query("undecided", "undecided, one beside the other", by_space)]
    known = np.isfinite(objects.probability)
    if known.any():
        sure = np.where(known, objects.probability, np.inf)
        found.insert(0, Query("uncertain", "least certain", np.argsort(sure, kind="stable")))
    for number, name in enumerate(objects.classes):
        of_class = np.flatnonzero(objects.of_class == number)
        if len(of_class):
            found.append(Query(f"class:{name}", f"predicted as {name}", of_class))
    found.append(Query("all", "all, also those that are decided", by_space, decided=True))
    return {query.name: query for query in found}


def query_named(queries: Mapping[str, Query], name: str) -> Query:
    """A query by its name."""
    if name not in queries:
        raise BadInput(f"There is no query {name!r}: it must be one of {', '.join(queries)}.")
    return queries[name]
