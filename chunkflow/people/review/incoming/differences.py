"""What a row of a file says that its object was not, when the file was exported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chunkflow.errors import BadInput
from chunkflow.formats.points.cellfinder import CLASSES, TYPES
from chunkflow.people.review.decisions import ACCEPTED, ADDED, DELETED, UNDECIDED
from chunkflow.people.review.incoming.changes import RESTORE, UNDECIDE, Document, is_near
from chunkflow.people.review.incoming.file_rows import FileRows
from chunkflow.people.review.incoming.history import ReviewHistory, moved_shape
from chunkflow.people.review.labels import REJECTED
from chunkflow.people.review.log.edits import ObjectState
from chunkflow.people.review.shapes import Place


@dataclass(frozen=True)
class RowDifference:
    """The rows of a file, held against the objects that they mean."""

    rows: FileRows
    history: ReviewHistory
    classes: frozenset[str]
    """Those that are known; other programs write words of their own for a class."""

    def documents(self, row: int, id: int, base: int) -> Iterator[Document]:
        """The edits that were made in a row, of an object as it was after the edit `base`."""
        then = self.history.state(id, base)
        if then.deleted:
            if self.rows.text("status", row) != DELETED:
                yield {"operation": RESTORE}
            return
        if self.rows.text("status", row) == DELETED:
            yield {"operation": "delete"}
            return
        place = self._place(row, id, then)
        if place is not None:
            shape = moved_shape(then.shape, place)
            yield {"operation": "move", "shape": shape.model_dump(mode="json")}
        yield from self._decision(row, id, then)
        if "note" in self.rows.columns and self.rows.text("note", row) != then.note.strip():
            yield {"operation": "note", "note": self.rows.text("note", row)}

    def additions(self, row: int) -> Iterator[Document]:
        """The edits that add the point of a row. Of a point that was drawn, status and note mean nothing: it
        has those of another."""
        x, y, z = self.rows.places[row].tolist()
        document: Document = {"operation": "add", "shape": {"kind": "point", "points": [[x, y, z]]}}
        of_class = self.class_in(row)
        yield document | ({"class": of_class} if of_class else {})
        status, note = self.rows.text("status", row), self.rows.text("note", row)
        if status == DELETED:
            raise BadInput(f"{self.rows.rows.name_of(row)}: its status is deleted, but it names no object.")
        if status == REJECTED and not self.rows.drawn:
            yield {"operation": "reject"}
        if note and not self.rows.drawn:
            yield {"operation": "note", "note": note}

    def class_in(self, row: int) -> str:
        """The class that a row gives; of a program that has words of its own, only one that is known."""
        of_class = self.rows.text("class", row)
        return "" if self.rows.foreign and of_class not in self.classes else of_class

    def _place(self, row: int, id: int, then: ObjectState) -> Place | None:
        """Where a row has moved its object; None where it has not."""
        before = self.history.place(id, then)
        if before is None:
            return None
        x, y, z = np.floor(before) + 0.5 if self.rows.whole_voxels else np.array(before)
        said = [self.rows.places[row]]
        said += [self.rows.microns[row]] if self.rows.microns is not None else []
        for place in said:
            found = (float(place[0]), float(place[1]), float(place[2]))
            if not is_near(found, (float(x), float(y), float(z))):
                return found
        return None

    def _decision(self, row: int, id: int, then: ObjectState) -> Iterator[Document]:
        before = then.status or UNDECIDED
        status = self.rows.text("status", row) or before
        status = before if status == ADDED else status
        of_class, known = self.class_in(row), self.history.class_of(id, then)
        renamed = bool(of_class) and not self._is_class(of_class, known)
        if renamed:
            yield {"operation": "class", "class": of_class}
        if status == REJECTED and (renamed or before != REJECTED):
            yield {"operation": "reject"}
        elif status == ACCEPTED != before and not renamed:
            yield {"operation": "accept", "class": of_class or known}
        elif status == UNDECIDED != before:
            yield {"operation": UNDECIDE}

    def _is_class(self, said: str, known: str) -> bool:
        """Whether a class is the one that was exported, as the file's program writes it."""
        return said == (CLASSES[TYPES.get(known, 1)] if self.rows.whole_voxels else known)
