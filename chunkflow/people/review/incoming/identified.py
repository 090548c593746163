"""The object that each row of a file means: by its id, else by its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from chunkflow.errors import BadInput
from chunkflow.people.review.decisions import ADDED
from chunkflow.people.review.incoming.changes import MOVED
from chunkflow.people.review.incoming.file_rows import NO_ID, FileRows
from chunkflow.people.review.incoming.history import ReviewHistory
from chunkflow.people.review.incoming.pairing import nearest_pairs, tolerance_of

FEWEST_DRAWN = 0.5
"""The share of objects that a file of drawn points must have, to be taken for all that there are."""


@dataclass
class IdentifiedRows:
    """The objects of rows, the rows that are new points, and the objects that no row means."""

    rows: FileRows
    history: ReviewHistory
    base: int
    """The edit as of which the file was exported."""
    objects: dict[int, int] = field(default_factory=dict)
    """The row of each object."""
    added: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, rows: FileRows, history: ReviewHistory, base: int, tolerance: float | None) -> IdentifiedRows:
        found = cls(rows, history, base)
        if rows.ids.any():
            found._by_id()
        else:
            found._by_place(range(len(rows)), tolerance_of(history.objects, tolerance))
        present = history.present(base)
        found.missing = [id for id in present if id not in found.objects]
        whole = len(present) - len(found.missing)
        if rows.drawn and whole < FEWEST_DRAWN * len(present):
            raise BadInput(
                f"{rows.rows.path} has points for {whole:,} of {len(present):,} objects, and as a file of "
                "drawn points would delete all others: export all, or give a table with ids (.csv)."
            )
        return found

    def _by_id(self) -> None:
        ids = self.rows.ids.tolist()
        known = {id for id in {*ids} - {NO_ID} if self.history.knows(id)}
        if not known:
            raise BadInput(
                f"{self.rows.rows.path} has ids, but none of an object of the table "
                f"{self.history.objects.info.url}: name the table that it was exported from."
            )
        counts = Counter(ids)
        unnamed = []
        for row, id in enumerate(ids):
            if id in known and (counts[id] == 1 or row == self._nearest(id)):
                self.objects[id] = row
            elif id in known or id == NO_ID:
                unnamed.append(row)
            else:
                self._refuse_unknown(row, id, counts[id])
                self.added.append(row)
        same = MOVED * min(self.history.objects.info.voxel_size) / 1e3
        self._by_place(unnamed, same)
        self.added.sort()

    def _nearest(self, id: int) -> int:
        """Of several rows with one id the one that is the object: another program gives a point that is drawn
        the features of the last one. In a table that is a mistake."""
        same = np.flatnonzero(self.rows.ids == np.uint64(id))
        if not self.rows.drawn:
            self._refuse_doubled(int(same[1]), id)
        place = self.history.place(id, self.history.state(id, self.base))
        away = np.linalg.norm(self.rows.places[same] - np.array(place), axis=1)
        return int(same[int(np.argmin(away))])

    def _refuse_doubled(self, row: int, id: int) -> None:
        raise BadInput(
            f"{self.rows.rows.name_of(row)}: object {id} is there already: keep one row of each, and leave "
            "the id of new ones empty."
        )

    def _refuse_unknown(self, row: int, id: int, count: int) -> None:
        """Raise BadInput for an id that is not of the table, unless its row is said to be added."""
        if self.rows.text("status", row) != ADDED:
            raise BadInput(
                f"{self.rows.rows.name_of(row)}: the table has no object {id}; leave the id of a new point "
                "empty, or let its status be added."
            )
        if count > 1:
            self._refuse_doubled(row, id)

    def _by_place(self, unnamed: Sequence[int], tolerance: float) -> None:
        """Give rows without an id to the nearest objects that no row names; what is left was added."""
        ids, owners, places = self.history.places_of(self.base)
        free = np.array([id not in self.objects for id in ids], bool)[owners]
        rows = np.array(unnamed, np.int64)
        info = self.history.objects.info
        pairs = nearest_pairs(self.rows.places[rows], places[free], owners[free], info, tolerance)
        for at, owner in pairs.tolist():
            self.objects[ids[owner]] = int(rows[at])
        taken = {int(rows[at]) for at, _ in pairs.tolist()}
        self.added += [row for row in rows.tolist() if row not in taken]

    def bases(self) -> Iterator[tuple[int, int, int]]:
        """Of each object its row, and the last edit of it that the file knows of."""
        for id, row in self.objects.items():
            named = int(self.rows.ids[row]) == id
            if self.rows.edits is None or not named:
                yield row, id, self.base
                continue
            seq = int(self.rows.edits[row])
            if seq and seq not in (edit.seq for edit in self.history.edits.get(id, [])):
                raise BadInput(
                    f"{self.rows.rows.name_of(row)}: object {id} has no edit {seq}: the file was exported "
                    "from another log."
                )
            yield row, id, seq
