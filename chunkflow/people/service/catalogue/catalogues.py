"""Catalogues: the data sets of a service by name, and the tables of them that are reviewed.

1. A fixed catalogue has one data set, that of a link for one person.
2. That of a lab finds data sets at their places, again every few seconds while somebody asks; a data set is
   looked at when it is first asked for, and again when its job has gone on. One that has vanished, or cannot
   be read, says so when it is asked for; the others stay as they are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from chunkflow.errors import ChunkflowError
from chunkflow.people.review.live import LiveTable
from chunkflow.people.service.catalogue.datasets import DataSet
from chunkflow.people.service.catalogue.opened import OpenedDataSet, ReviewLogs
from chunkflow.people.service.catalogue.places import DataSetPlace, find_places

LOOK_SECONDS = 5.0
"""How long data sets are taken to be as they were seen."""


class Catalogue(Protocol):
    """The data sets of a service; `held` waits for nothing, the others may read from storage."""

    def names(self) -> Sequence[str]: ...

    def held(self, name: str) -> DataSet | None:
        """A data set as it was last seen; None where it was not looked at, or there is none."""

    def dataset(self, name: str) -> DataSet | None:
        """A data set as it is now; None where there is none."""

    def review(self, name: str, table: str) -> LiveTable | None:
        """A reviewed table of a data set; None where there is none."""

    def close(self) -> None: ...


class FixedCatalogue:
    """One data set that does not change."""

    def __init__(self, dataset: DataSet, reviews: Mapping[str, LiveTable]) -> None:
        """`reviews` has the tables that are reviewed, by name."""
        self.only = dataset
        self._reviews = reviews

    def names(self) -> Sequence[str]:
        return (self.only.name,)

    def held(self, name: str) -> DataSet | None:
        return self.only if name == self.only.name else None

    def dataset(self, name: str) -> DataSet | None:
        return self.held(name)

    def review(self, name: str, table: str) -> LiveTable | None:
        return self._reviews.get(table) if self.held(name) else None

    def close(self) -> None:
        """Nothing is open."""


class LabCatalogue:
    """The data sets at given places, as they come and go."""

    def __init__(self, sources: Sequence[str], database: str = "") -> None:
        """Look for data sets; `database` has their reviews, else each work folder its own."""
        self._sources = tuple(sources)
        self._places = find_places(self._sources)
        self._looked = time.monotonic()
        self._opened: dict[DataSetPlace, OpenedDataSet] = {}
        self._logs = ReviewLogs(database)
        self._lock = threading.Lock()

    def names(self) -> Sequence[str]:
        return tuple(self.places())

    def places(self) -> dict[str, DataSetPlace]:
        """Where all data sets lie."""
        with self._lock:
            if time.monotonic() - self._looked > LOOK_SECONDS:
                with suppress(ChunkflowError, OSError):  # what was found before is kept
                    self._places = find_places(self._sources)
                self._looked = time.monotonic()
            return self._places

    def held(self, name: str) -> DataSet | None:
        place = self._places.get(name)
        opened = self._opened.get(place) if place else None
        return opened.held if opened else None

    def opened(self, name: str) -> OpenedDataSet | None:
        """A data set with what is told of it."""
        place = self.places().get(name)
        if place is None:
            return None
        with self._lock:
            if place not in self._opened:
                self._opened[place] = OpenedDataSet(place, self._logs, LOOK_SECONDS)
            return self._opened[place]

    def dataset(self, name: str) -> DataSet | None:
        opened = self.opened(name)
        return opened.dataset() if opened else None

    def review(self, name: str, table: str) -> LiveTable | None:
        opened = self.opened(name)
        return opened.review(table) if opened else None

    def close(self) -> None:
        """Close the logs of reviews."""
        self._logs.close()
