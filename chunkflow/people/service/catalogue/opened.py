"""A data set that is open: its layers, its job, and the reviews of its tables, as they are now."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chunkflow.data.tables import Table
from chunkflow.errors import BadInput, ChunkflowError, StorageError
from chunkflow.jobs.locate import layer_or_work
from chunkflow.jobs.work import Work
from chunkflow.people.review.live import LiveTable
from chunkflow.people.review.reviewing import DATABASE, ReviewPlace, open_log
from chunkflow.people.service.catalogue.datasets import DataSet
from chunkflow.people.service.catalogue.places import DataSetPlace
from chunkflow.people.viewing.work_layers import layers_of_plan
from chunkflow.words import plain

if TYPE_CHECKING:
    from chunkflow.people.review.log.review_log import ReviewLog


class ReviewLogs:
    """The logs of reviews that are open: one for all work folders, or one for each."""

    def __init__(self, database: str = "") -> None:
        self._given = database
        self._logs: dict[str, ReviewLog] = {}
        self._lock = threading.Lock()

    def log_of(self, place: ReviewPlace) -> ReviewLog:
        """The log that has the review of a table."""
        return self._log_in(place.database(self._given))

    def decided(self, work: Work, table: str) -> dict[str, int]:
        """How many objects of a table are decided, by person; no database is made for the question."""
        database = self._given
        if not database:
            database = f"{plain(work.url)}/{DATABASE}"
            if not Path(database).exists():
                return {}
        log = self._log_in(database)
        known = [one.id for one in log.tables() if (one.work, one.name) == (work.url, table)]
        return log.decided(max(known)) if known else {}

    def _log_in(self, database: str) -> ReviewLog:
        with self._lock:
            held = self._logs.get(database)
            if held is not None and held.is_replaced():
                self._logs.pop(database).close()
            if database not in self._logs:
                self._logs[database] = open_log(database)
            return self._logs[database]

    def close(self) -> None:
        """Write what waits, and close all databases."""
        for log in self._logs.values():
            log.close()
        self._logs.clear()


@contextmanager
def blamed_on_place() -> Iterator[None]:
    """Raise what is wrong with a data set as what may be mended: whoever asks has asked for nothing wrong,
    and a page goes on to keep its edits."""
    try:
        yield
    except BadInput as error:
        raise StorageError(str(error)) from error


@dataclass(frozen=True)
class JobState:
    """What decides whether a job's layers and tables must be looked at anew."""

    layers: tuple[tuple[str, str], ...]
    runs: tuple[tuple[Any, ...], ...]
    """Where and when each began: a folder may be emptied, and a job run in it anew."""
    ended: str | None


class OpenedDataSet:
    """A data set at its place, looked at anew when its job has gone on."""

    def __init__(self, place: DataSetPlace, logs: ReviewLogs, seconds: float) -> None:
        self.place = place
        self.held: DataSet | None = None
        """The data set as it was last seen."""
        self.work: Work | None = None
        """The work folder, once it was looked at; a layer without a job has none."""
        self._logs = logs
        self._seconds = seconds
        self._state: JobState | None = None
        self._reviews: dict[str, tuple[JobState | None, LiveTable]] = {}
        self._tables: tuple[JobState | None, dict[str, Table]] = (None, {})
        self._looked = float("-inf")
        self._lock = threading.RLock()

    def dataset(self) -> DataSet:
        """The layers as they are now."""
        with self._lock, blamed_on_place():
            if self.held is None or time.monotonic() - self._looked > self._seconds:
                self.held = self._look(self.held)
                self._looked = time.monotonic()
            return self.held

    def _look(self, held: DataSet | None) -> DataSet:
        if self.work is None:
            if held is not None:
                return held
            found = layer_or_work(self.place.url)
            if isinstance(found, str):
                return DataSet.of(self.place.name, {self.place.name: found})
            self.work = found
        layers = layers_of_plan(self.work.plan())
        ledger = self.work.ledger.state
        # a layer that was looked at while it was made has another contrast once it is whole
        state = JobState(
            tuple(layers.urls.items()), tuple(tuple(run[:3]) for run in ledger.runs), ledger.ended
        )
        if held is not None and state == self._state:
            return held
        self._state = state
        return DataSet.of(self.place.name, layers.urls, layers.links)

    def review(self, table: str) -> LiveTable | None:
        """A table as it is reviewed; None where the job has none of that name."""
        with self._lock, blamed_on_place():
            self.dataset()
            state, live = self._reviews.get(table, (None, None))
            if live is not None and state == self._state and not live.log.is_replaced():
                return live  # asked for each edit: the job is not read again
            if self.work is None or table not in self.work.tables():
                return None
            live = self._opened(table, live)
            self._reviews[table] = self._state, live
            return live

    def _opened(self, table: str, former: LiveTable | None) -> LiveTable:
        """The review of a table; the one that is open where the table is still the same."""
        assert self.work is not None
        place = ReviewPlace(self.work, table, self.work.table_info(table))
        live = place.opened(self._logs.log_of(place))
        same = former is not None and (former.table, former.log) == (live.table, live.log)
        return former if former is not None and same else live

    def tables(self) -> dict[str, Table]:
        """The finished tables of the job by name."""
        self.dataset()
        found: dict[str, Table] = {}
        work, (state, former) = self.work, self._tables
        for name in work.tables() if work else ():
            with suppress(ChunkflowError):  # it is not finished yet
                assert work is not None
                same = state == self._state and name in former  # its rows are counted already
                found[name] = former[name] if same else Table(work.table_info(name))
        self._tables = self._state, found
        return found

    def decided(self, table: str) -> dict[str, int]:
        """How many objects of a table are decided, by person."""
        return self._logs.decided(self.work, table) if self.work else {}
