"""The review of one table by one person, served to this machine."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from chunkflow.people.review.incoming.older import said_of_older
from chunkflow.people.review.live import LiveTable
from chunkflow.people.review.reviewing import ReviewPlace, open_log
from chunkflow.people.service.app import Service
from chunkflow.people.service.catalogue.datasets import DataSet
from chunkflow.people.service.local.server import LocalServer, Served
from chunkflow.people.service.local.token import token_of
from chunkflow.people.viewing.shown import layers_to_show
from chunkflow.words import refuse_one_text


class Reviewer(Served):
    """The review of a table in the browser, until closed; in a notebook a frame."""

    def __init__(self, server: LocalServer, url: str, place: ReviewPlace, live: LiveTable) -> None:
        super().__init__(server, url)
        self.name = place.name
        """The table that is reviewed."""
        self._place = place
        self._live = live

    @property
    def older(self) -> str:
        """A sentence on decisions that were made before the table was made anew; empty without any."""
        place, generation = self._place, self._live.objects.generation
        return said_of_older(self._live.log, place.work.url, place.name, generation)

    @property
    def counts(self) -> dict[str, int]:
        """How many objects there are, and how many are accepted, rejected, added and deleted."""
        self._live.follow()
        return self._live.counts

    def close(self) -> None:
        """End the server; what was decided is in the log."""
        super().close()
        self._live.log.close()

    @property
    def title(self) -> str:
        """The table, and how far its review is."""
        counts = self.counts
        decided = counts["accepted"] + counts["rejected"]
        return f"Review of {self.name}, {decided:,} of {counts['objects']:,} decided"

    def __repr__(self) -> str:
        return f"{self.title}: {self.url}"


def review(
    place: str | Path,
    *,
    classes: Sequence[str] = (),
    database: str | Path = "",
    person: str = "",
    port: int = 0,
) -> Reviewer:
    """Review the objects of a table in the browser: accept, reject, give classes, add, move, delete.

    `place` is WORK:TABLE, or WORK for the last table of objects of its job. Objects may be given the classes
    that the table or its model knows, and `classes`.
    What is decided lies in the file review.sqlite of the work folder, or in `database` (a path, or
    postgresql://USER@HOST/NAME), under the name `person`, by default that of the user. The server answers to
    this machine alone, at `port` (0 takes a free one).

    >>> with review(work.url, database=folder / "review.sqlite") as page:
    ...     page.name, page.counts["accepted"]
    ('objects', 0)
    """
    refuse_one_text("classes", classes)
    found = ReviewPlace.find(place)
    layers, links = layers_to_show([found.work.url])
    name = found.work.job().name
    dataset = DataSet.of(name, layers, links)
    log = open_log(found.database(database))
    try:
        live = found.opened(log, classes)
        token = token_of([*layers.values(), found.name])
        server = LocalServer(
            Service.of(dataset, person or getpass.getuser(), {found.name: live}), token, port
        )
    except BaseException:
        log.close()
        raise
    url = f"{server.base}/review/{quote(found.name)}/v/review/"
    server.start()
    return Reviewer(server, url, found, live)
