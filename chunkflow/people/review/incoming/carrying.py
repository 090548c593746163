"""Decisions on a table carried over to the one that its job has made anew.

1. An object of then is the one of now with the same id, if that lies where it lay; else the nearest.
2. What was said of it is said of that one, as edits of the same people; points that were added are added
   again, unless there is an object now.
3. What somebody has said of an object of the new table already is a conflict, and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chunkflow.errors import BadInput
from chunkflow.kernels.precomputed.morton import code_bits, id_voxels
from chunkflow.people.review.incoming.appending import append_edits, counts_of
from chunkflow.people.review.incoming.changes import Changes
from chunkflow.people.review.incoming.history import ReviewHistory
from chunkflow.people.review.incoming.older import DECIDES, OlderReview, edits_of
from chunkflow.people.review.incoming.pairing import Numbers, nearest_pairs, tolerance_of
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.objects import Floats, TableObjects
from chunkflow.people.review.reviewing import ReviewPlace, open_log
from chunkflow.people.review.shapes import Place


@dataclass(frozen=True, repr=False)
class CarriedReview:
    """What was carried over from the review of an older table."""

    name: str
    counts: dict[str, int]
    """As of `ImportedReview`, and how many objects are `unplaced`."""
    conflicts: tuple[str, ...]
    unplaced: tuple[int, ...]
    """The objects of the older table that none of the new one stands for."""
    written: bool

    def __repr__(self) -> str:
        said = ", ".join(f"{count:,} {word}" for word, count in self.counts.items() if count)
        done = "Carried over" if self.written else "Would carry over"
        return f"{done} to the review of {self.name}: {said or 'nothing'}."


def carry_review(
    place: str | Path,
    *,
    file: str | Path | None = None,
    distance_um: float | None = None,
    database: str | Path = "",
    dry_run: bool = False,
) -> CarriedReview:
    """Carry decisions over to a table that was made anew, from the last review of it before.

    `place` is WORK:TABLE, or WORK for the last table of its job. An object of then is the one with the same
    id, or else the nearest within `distance_um` micrometres (by default half the median diameter), one to
    one. Where objects were follows from their ids, where these name voxels; `file` is else an export of the
    older table. Edits are made by the people who decided. What was edited in the new table is a conflict, and
    stays. Carrying over again writes nothing twice; with `dry_run` nothing is written at all.

    >>> log = folder / "carried.sqlite"
    >>> with review(work.url, database=log) as page:
    ...     page.older
    ''
    >>> carry_review(work.url, database=log)
    Traceback (most recent call last):
    chunkflow.errors.BadInput: Nothing was decided on objects before it was made anew.
    """
    found = ReviewPlace.find(place)
    objects = found.objects
    with closing(open_log(found.database(database), must_exist=True)) as log:
        older = OlderReview.of(log, found.work.url, found.name, objects.generation)
        if older is None:
            raise BadInput(f"Nothing was decided on {found.name} before it was made anew.")
        places = older.places(found.info, None if file is None else Path(file))
        pairs = _pairs(places, objects, tolerance_of(objects, distance_um, "distance_um"))
        if not dry_run:
            found.table_of(log, objects.generation)
        table = log.find(found.work.url, found.name, objects.generation)
        history = ReviewHistory.of(objects, [] if table is None else log.edits(table))
        changes = Changes(history, f"carry-{table or 0}-{older.last}-")
        unplaced, authors = _carry(older, pairs, changes)
        counts = counts_of(changes.edits)
        if table is not None and not dry_run:
            counts = append_edits(log, table, lambda edit: authors[edit.key], changes)
    counts |= {"unchanged": changes.unchanged, "conflicts": len(changes.conflicts), "unplaced": len(unplaced)}
    return CarriedReview(found.name, counts, tuple(changes.conflicts), tuple(unplaced), not dry_run)


def _pairs(places: Mapping[int, Place], objects: TableObjects, distance: float) -> dict[int, int]:
    """The object of the new table that stands for each of the older one."""
    spots, owners = _spots(objects)
    size = np.array(objects.info.voxel_size) / 1e3
    kept = [number for number in (objects.number(id) for id in places) if number is not None]
    of_number: dict[int, list[int]] = {number: [] for number in kept}
    for row in np.flatnonzero(np.isin(owners, kept)).tolist():
        of_number[int(owners[row])].append(row)
    found: dict[int, int] = {}
    for number, rows in of_number.items():
        id = int(objects.ids[number])
        away = np.linalg.norm((spots[rows] - np.array(places[id])) * size, axis=1)
        if away.min() <= distance:
            found[id] = id
    left = [id for id in places if id not in found]
    taken = np.array([objects.number(id) for id in found], np.int64)
    free = ~np.isin(owners, taken)
    wanted = np.array([places[id] for id in left], np.float64).reshape(-1, 3)
    for one, owner in nearest_pairs(wanted, spots[free], owners[free], objects.info, distance).tolist():
        found[left[one]] = int(objects.ids[owner])
    return found


def _spots(objects: TableObjects) -> tuple[Floats, Numbers]:
    """The places of objects, and the voxels that their ids name; of each the number of its object."""
    info, numbers = objects.info, np.arange(len(objects))
    named = objects.ids <= np.uint64(1 << code_bits(info.volume.size))
    if not info.connected or not named.any():
        return objects.places, numbers
    voxels = id_voxels(objects.ids[named], info.volume.size) + np.array(info.volume.start) + 0.5
    return np.concatenate([objects.places, voxels]), np.concatenate([numbers, numbers[named]])


def _carry(
    older: OlderReview, pairs: Mapping[int, int], changes: Changes
) -> tuple[list[int], dict[str, str]]:
    """Propose all edits; the objects that have no place in the new table, and by key whose each edit is."""
    unplaced, authors = [], dict[str, str]()
    for id, held in sorted(older.current.items()):
        state, target = held.state, pairs.get(id)
        documents = edits_of(state)
        if target is None and state.added and not state.deleted:
            assert state.shape is not None
            shape = state.shape.model_dump(mode="json")
            rest = [one for one in documents if one["operation"] in ("reject", "note")]
            documents = [{"operation": "add", "shape": shape, "class": state.of_class}, *rest]
            target = id
        if target is None or (state.added and state.deleted):
            unplaced += [] if state.deleted else [id]
            continue
        if target == id and state.added and not changes.history.knows(target):
            changes.add(target, documents)
        else:
            changes.propose(target, documents, 0)
        for edit in changes.edits.get(target, ()):
            authors[edit.key] = _author(older, id, edit)
    return unplaced, authors


def _author(older: OlderReview, id: int, edit: ProposedEdit) -> str:
    decides = edit.operation in DECIDES
    return older.author(id, DECIDES if decides else (edit.operation,))
