"""Reviews of tables: where their log lies, and which table of a job is meant."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from chunkflow.data.info import TableInfo
from chunkflow.data.tables import Table
from chunkflow.errors import BadInput, Incomplete
from chunkflow.extras import optional_import
from chunkflow.jobs.locate import split_table
from chunkflow.jobs.work import Work
from chunkflow.people.review.live import LiveTable
from chunkflow.people.review.log.edits import ReviewedObject
from chunkflow.people.review.objects import PLACES, TableObjects
from chunkflow.words import counted, plain

if TYPE_CHECKING:
    from chunkflow.people.review.log.review_log import ReviewLog

DATABASE = "review.sqlite"
"""The file in a work folder that has the log of its reviews."""


@dataclass(frozen=True)
class ReviewPlace:
    """A table of a job that is reviewed: its work folder, its name there, and what is known of it."""

    work: Work
    name: str
    info: TableInfo

    @classmethod
    def find(cls, place: str | Path) -> ReviewPlace:
        """The table at WORK:TABLE; of WORK the last one that its job made with places of objects."""
        location, named = split_table(str(place))
        work = Work.open(location)
        name = named or _last_of(work)
        return cls(work, name, work.table_info(name))

    def database(self, given: str | Path) -> str:
        """The database with the log: the one that is given, else the file in the work folder."""
        if given:
            return str(given)
        if not self.work.url.startswith("file://"):
            raise BadInput(
                f"{self.work.url} is no folder of this machine, and a review keeps its log in a file of it: "
                "give `database`, as in postgresql://lab@host/reviews or the path of a file."
            )
        return f"{plain(self.work.url)}/{DATABASE}"

    @cached_property
    def objects(self) -> TableObjects:
        """The objects as the table has them, read once."""
        return TableObjects.read(self.info)

    def opened(self, log: ReviewLog, classes: Sequence[str] = ()) -> LiveTable:
        """The objects of the table, with all that is current of them; they may also be of other `classes`."""
        objects = TableObjects.read(self.info, classes)
        return LiveTable(log, self.table_of(log, objects.generation), objects)

    def decided(self, database: str | Path, edit: int | None) -> tuple[dict[int, ReviewedObject], int]:
        """What was current of the objects after an edit, by default the last one; and the number of that."""
        with closing(open_log(self.database(database), must_exist=True)) as log:
            table, last = self.table_of(log, self.objects.generation), log.last()
            if edit is not None and not 0 <= edit <= last:
                raise BadInput(f"There is no edit {edit}: the last one is {last}.")
            wanted = last if edit is None else edit
            return log.at(table, wanted), wanted

    def table_of(self, log: ReviewLog, generation: str) -> int:
        """The number that the log has for the table."""
        return log.table(self.work.url, self.name, generation)


def open_log(database: str, must_exist: bool = False) -> ReviewLog:
    """The log of reviews in a database, to be closed."""
    optional_import("sqlalchemy", "Keeping a review")
    from chunkflow.people.review.log.review_log import ReviewLog

    if must_exist and "://" not in database and not Path(database).exists():
        raise BadInput(f"There is no {database}: nobody has reviewed anything here yet.")
    return ReviewLog.open(database)


@dataclass(frozen=True, repr=False)
class CheckedReview:
    """The result of a check of a log."""

    database: str
    edits: int
    faults: tuple[str, ...]
    """Sentences on what does not follow from the log; none where all is well."""

    def __repr__(self) -> str:
        found = counted(len(self.faults), "fault") if self.faults else "all is as the log says"
        return f"{counted(self.edits, 'edit')} in {self.database}: {found}."


def check_review(place: str | Path, *, database: str | Path = "") -> CheckedReview:
    """Rebuild what is current of all reviewed tables from the log of edits, and compare it with what is kept.

    `place` is WORK or WORK:TABLE, whose log it is, unless `database` names another.

    >>> with review(work.url, database=folder / "checked.sqlite") as page:
    ...     check_review(work.url, database=folder / "checked.sqlite").faults
    ()
    """
    given = str(database or ReviewPlace.find(place).database(""))
    with closing(open_log(given, must_exist=True)) as log:
        return CheckedReview(given, log.last(), tuple(log.check()))


def can_be_reviewed(table: Table) -> bool:
    """Whether the rows of a table have ids and places."""
    return {"id", *PLACES} <= set(table.columns)


def _last_of(work: Work) -> str:
    """The last table of a job whose rows have ids and places."""
    found = []
    for name in work.tables():
        try:
            info = work.table_info(name)
        except Incomplete:
            continue
        if can_be_reviewed(Table(info)):
            found.append(name)
    if not found:
        raise BadInput(
            f"The job in {plain(work.url)} has no finished table of objects with places to review."
        )
    return found[-1]
