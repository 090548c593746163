"""Objects of a table after each edit of its log: what a file or an older table is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chunkflow.people.review.live import UNTOUCHED
from chunkflow.people.review.log.edits import DrawnShape, Edit, ObjectState
from chunkflow.people.review.objects import Floats, TableObjects
from chunkflow.people.review.shapes import Place, middle_of


@dataclass(frozen=True)
class ReviewHistory:
    """The objects of a table, and of those that were edited all edits and the states after them."""

    objects: TableObjects
    edits: Mapping[int, list[Edit]]
    states: Mapping[int, list[ObjectState]]
    """Of each object as many as it has edits."""
    keys: frozenset[str] = field(repr=False)

    @classmethod
    def of(cls, objects: TableObjects, edits: Iterable[Edit]) -> ReviewHistory:
        by_object: dict[int, list[Edit]] = {}
        states: dict[int, list[ObjectState]] = {}
        for edit in edits:
            before = states[edit.object][-1] if edit.object in states else UNTOUCHED
            by_object.setdefault(edit.object, []).append(edit)
            after = ObjectState.from_json({**before.to_json(), **edit.after})
            states.setdefault(edit.object, []).append(after)
        keys = frozenset(edit.key for made in by_object.values() for edit in made)
        return cls(objects, by_object, states, keys)

    def knows(self, id: int) -> bool:
        """Whether the table has an object, or anything was ever said of it."""
        return id in self.edits or self.objects.number(id) is not None

    def state(self, id: int, seq: int | None = None) -> ObjectState:
        """What was said of an object up to the edit `seq`; by default, up to the last."""
        count = len(self.until(id, seq))
        return self.states[id][count - 1] if count else UNTOUCHED

    def until(self, id: int, seq: int | None = None) -> list[Edit]:
        """The edits of an object up to the edit `seq`."""
        edits = self.edits.get(id, [])
        return edits if seq is None else [edit for edit in edits if edit.seq <= seq]

    def last(self, id: int) -> int | None:
        """The last edit of an object."""
        return self.edits[id][-1].seq if id in self.edits else None

    def place(self, id: int, state: ObjectState) -> Place | None:
        """Where an object in some state lies; None where the table has it not and nobody has placed it."""
        if state.shape is not None:
            return middle_of(state.shape)
        number = self.objects.number(id)
        if number is None:
            return None
        x, y, z = self.objects.places[number].tolist()
        return x, y, z

    def class_of(self, id: int, state: ObjectState) -> str:
        """The class of an object in some state; empty where it has none."""
        number = self.objects.number(id)
        return state.of_class or ("" if number is None else self.objects.class_of(number))

    def present(self, seq: int | None = None) -> list[int]:
        """The objects that there were after an edit, and have a place."""
        return [id for id, _ in self._present(seq)]

    def places_of(self, seq: int) -> tuple[list[int], npt.NDArray[np.int64], Floats]:
        """The objects that there were after an edit or are there now; of both times their places, each with
        the index of its object."""
        found: dict[int, set[Place]] = {}
        for when in (seq, None):
            for id, place in self._present(when):
                found.setdefault(id, set()).add(place)
        owners = np.repeat(np.arange(len(found)), [len(places) for places in found.values()])
        places = [place for own in found.values() for place in sorted(own)]
        return list(found), owners, np.array(places, np.float64).reshape(-1, 3)

    @property
    def classes(self) -> set[str]:
        """All classes that the table knows or that people have given."""
        given = {state.of_class for states in self.states.values() for state in states}
        return {*self.objects.classes, *given} - {""}

    def _present(self, seq: int | None) -> Iterator[tuple[int, Place]]:
        known = self.objects.ids.tolist()
        others = [id for id in self.edits if self.objects.number(id) is None]
        for id in [*known, *sorted(others)]:
            state = self.state(id, seq)
            place = self.place(id, state)
            if place is not None and not state.deleted:
                yield id, place


def moved_shape(shape: DrawnShape | None, place: Place) -> DrawnShape:
    """A shape brought to a place as a whole; a point where there was none."""
    if shape is None:
        return DrawnShape(kind="point", points=(place,))
    by = [new - old for new, old in zip(place, middle_of(shape), strict=True)]
    fixed = shape.points[1:] if shape.kind == "ellipsoid" else ()  # its radii
    points = shape.points[:1] if shape.kind == "ellipsoid" else shape.points
    moved = [(x + by[0], y + by[1], z + by[2]) for x, y, z in points]
    return DrawnShape(kind=shape.kind, points=(*moved, *fixed))
