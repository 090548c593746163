"""Decisions of reviewers as labels that a classifier learns from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from chunkflow.errors import BadInput
from chunkflow.people.review.log.edits import ReviewedObject
from chunkflow.people.review.reviewing import DATABASE, open_log
from chunkflow.words import counted, plain

REJECTED = "rejected"
FEWEST_REJECTED = 10
"""With fewer there is no class of what was rejected: nothing could be learnt of it."""


def labels_of(current: Mapping[int, ReviewedObject]) -> dict[int, str]:
    """The class of each object of a table that people have decided on."""
    return {
        id: (held.state.of_class or held.state.status) if held.state.status == "accepted" else REJECTED
        for id, held in current.items()
        if held.state.status and not held.state.deleted and not held.state.added
    }


def is_reviewed(place: Path) -> bool:
    """Whether a place is a work folder in which something has been reviewed."""
    return (place / DATABASE).is_file()


def review_labels(work: Path) -> tuple[pa.Table, list[str]]:
    """The ids and classes of the objects that people have decided on, and what is to be told of them.

    An object that was accepted is of its class, or of the class `accepted` where its table has none. Those
    that were rejected are a class of their own. Where several tables of a job were reviewed, the later
    decision on an object counts.
    """
    with closing(open_log(str(work / DATABASE), must_exist=True)) as log:
        found: dict[int, ReviewedObject] = {}
        for table in log.tables():
            for id, held in log.current(table.id).items():
                if id not in found or found[id].seq < held.seq:
                    found[id] = held
    classes = labels_of(found)
    rejected = [id for id, name in classes.items() if name == REJECTED]
    remarks = []
    if 0 < len(rejected) < FEWEST_REJECTED:
        remarks.append(f"{counted(len(rejected), 'rejected object')} left out: a class needs more.")
        classes = {id: name for id, name in classes.items() if name != REJECTED}
    if not classes:
        raise BadInput(f"Nobody has decided on an object of {plain(str(work))} yet: review some first.")
    ids = sorted(classes)
    return pa.table({"id": pa.array(ids, pa.uint64()), "class": [classes[id] for id in ids]}), remarks
