"""A job whose objects are to be learnt, and somebody who knows what each of them is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chunkflow.jobs.work import Work
from chunkflow.kernels.scoring.matching import matched_pairs
from chunkflow.people.learning.active.learn import Awaited
from chunkflow.people.learning.active.rounds import Round
from chunkflow.people.review.log.edits import Edit
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.reviewing import ReviewPlace, open_log
from tests.support.jobs import make_job, run_job

SIZE = [176, 176, 64]


def job_to_learn(folder: Path) -> str:
    """The work folder of a job with a table `objects` of some hundred nuclei, and `cells`, their truth."""
    layers = {name: str(folder / name) for name in ("dapi", "nuclei")}
    tasks = [
        {"synthesize": {"dapi": "dapi", "cells": "cells", "size": SIZE, "density": 60_000, "glia": 0.3}},
        {"segment": {"image": "dapi", "labels": "nuclei", "diameter": 9}},
        {"measure": {"labels": "nuclei", "images": ["dapi"], "objects": "objects"}},
    ]
    job = make_job(folder, layers, tasks, storage=[32, 32, 16], chunk=[96, 96, 32])
    assert run_job(job) == "complete"
    return job.work.removeprefix("file://")


def truth_of(work: str) -> dict[int, str]:
    """What each object is; those that are no cell are not in it."""
    opened = Work.open(work)
    found, cells = (opened.table(name).to_arrow() for name in ("objects", "cells"))
    places = [np.stack([rows[f"{axis}_um"].to_numpy() for axis in "xyz"], 1) for rows in (found, cells)]
    pairs = matched_pairs(*places, 5.0)
    kinds = cells["class"].to_pylist()
    ids = found["id"].to_pylist()
    return {ids[number]: kinds[cell] for number, cell in pairs.tolist()}


@dataclass
class Knowing:
    """A person who decides whatever a round asks for, as it truly is."""

    work: str
    database: str
    truth: Mapping[int, str]
    person: str = "ann"

    def decide(self, ids: tuple[str, ...]) -> list[Edit]:
        """Decide on objects, also on those that are decided already."""
        found = ReviewPlace.find(f"{self.work}:objects")
        made = []
        with closing(open_log(self.database)) as log:
            table = found.opened(log).table
            for id in ids:
                held = log.current(table).get(int(id))
                kind = self.truth.get(int(id))
                said = {"operation": "class", "class": kind} if kind else {"operation": "reject"}
                document = {"key": f"{self.person}-{log.last()}", "object": id, **said}
                document["seen"] = held.seq if held else None
                made.append(log.append(table, self.person, ProposedEdit.parse(document)))
        return made

    def answer(self) -> Callable[[Round | Awaited], None]:
        """Decides each batch as soon as it is asked for."""
        return lambda event: self.decide(event.queue) and None if isinstance(event, Round) else None
