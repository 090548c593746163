"""A table under review: its objects with all that is current of them, kept up with the log."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chunkflow.data.describe import layer_at
from chunkflow.errors import BadInput, ChunkflowError
from chunkflow.people.review.log.edits import Edit, ObjectState, ReviewedObject
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.objects import TableObjects
from chunkflow.people.review.point_layer import PointLayer
from chunkflow.people.review.profiles import TableProfiles
from chunkflow.people.review.queries import TO_LEARN, Query, queries_of, query_named
from chunkflow.people.review.regions import TableRegions, labels_at
from chunkflow.people.review.shapes import distance_to, middle_of, refuse_shape

if TYPE_CHECKING:
    from chunkflow.people.review.log.review_log import ReviewLog

NEIGHBOURS = 2000
"""Objects that a page is given at once."""
SHOWN_OTHERWISE = re.compile(r"id$|class$|probability$|[xyz](_|$)")
"""Columns of a table that a page shows without their names."""
OWN_ID = 1 << 62
"""From here to twice as much ids are those that pages give to what is added; no voxel has one."""
DISAGREED, LIST, REGION = "disagreed", "list:", "region:"
UNTOUCHED = ObjectState()


@dataclass(frozen=True)
class NextObject:
    """What a query gives next."""

    described: dict[str, Any] | None
    """None where nothing is left that is not before others."""
    before_others: int
    """How many of those that are to be looked at are before others now."""
    ahead: tuple[dict[str, Any], ...] = ()
    """Those that come behind it, in full, for a page that may lose its server."""


class LiveTable:
    """The objects of a table, and what people have decided of them up to the edit `seq`."""

    def __init__(self, log: ReviewLog, table: int, objects: TableObjects) -> None:
        self.log = log
        self.table = table
        self.objects = objects
        self.profiles = TableProfiles(objects)
        self.regions = TableRegions(objects.places, objects.info.voxel_size)
        self._queries = queries_of(objects)
        self.seq = 0
        self._current: dict[int, ReviewedObject] = {}
        self._added: set[int] = set()
        self._open = np.ones(len(objects), bool)
        self._deleted = np.zeros(len(objects), bool)
        self._counts = {"accepted": 0, "rejected": 0, "added": 0, "deleted": 0}
        self._points: PointLayer | None = None
        self._lock = threading.Lock()
        for id, held in log.current(table).items():
            self._keep(id, held)

    def follow(self) -> list[Edit]:
        """Read what was written to the log since, by whatever process; these edits."""
        with self._lock:
            edits = self.log.edits(self.table, since=self.seq)
            for edit in edits:
                self._take(edit)
            return edits

    def _take(self, edit: Edit) -> None:
        before = self._current.get(edit.object)
        former = before.state if before else UNTOUCHED
        state = ObjectState.from_json({**former.to_json(), **edit.after})
        self._count(edit.object, former, -1)
        self._keep(edit.object, ReviewedObject(edit.seq, state, edit.person, edit.at))

    def _keep(self, id: int, held: ReviewedObject) -> None:
        self._count(id, held.state, 1)
        self._current[id] = held
        number = self.objects.number(id)
        if held.state.added and number is None:
            self._added.add(id)
        if number is not None:
            self._open[number] = not held.state.status and not held.state.deleted
            self._deleted[number] = held.state.deleted
        if self._points is not None:
            self._points.keep(id, held.state)
        self.seq = max(self.seq, held.seq)

    def _count(self, id: int, state: ObjectState, by: int) -> None:
        added = state.added and self.objects.number(id) is None
        if state.deleted:
            self._counts["deleted"] += 0 if added else by
        else:
            self._counts["added"] += by if added else 0
            if state.status:
                self._counts[state.status] += by

    @property
    def counts(self) -> dict[str, int]:
        """How many objects there are, and how many are accepted, rejected, added and deleted."""
        with self._lock:
            counts = dict(self._counts)
        return {"objects": len(self.objects) + counts["added"] - counts["deleted"], **counts}

    @property
    def points(self) -> PointLayer:
        """All objects as a layer of points, which is made when it is first asked for."""
        with self._lock:
            if self._points is None:
                self._points = PointLayer(self.objects)
                for id, held in self._current.items():
                    self._points.keep(id, held.state)
            return self._points

    def since(self, seq: int) -> list[Edit]:
        """The edits behind a number."""
        return self.log.edits(self.table, since=seq)

    def refuse_unknown(self, proposed: ProposedEdit) -> None:
        """Raise BadInput for an edit of an object that neither the table has nor people have added, for an
        addition of one that the table has, and for a place outside of the volume."""
        if proposed.object is None:
            return
        in_table = self.objects.number(proposed.object) is not None
        if proposed.operation == "add" and in_table and not self._is_deleted(proposed.object):
            raise BadInput(f"The table has an object {proposed.object} already: add another id.")
        if proposed.operation != "add" and not in_table and proposed.object not in self._current:
            raise BadInput(f"The table has no object {proposed.object}.")
        if proposed.shape is not None:
            refuse_shape(proposed.shape, self.objects.info.volume)

    def _is_deleted(self, id: int) -> bool:
        held = self._current.get(id)
        return held is not None and held.state.deleted

    def with_id_under(self, proposed: ProposedEdit) -> ProposedEdit:
        """An added point that has an id of its own with that of the object under it, where that is free: the
        table does not have the object, nor have people added it, or it was deleted."""
        shape, own = proposed.shape, proposed.object or 0
        a_point = proposed.operation == "add" and shape is not None and shape.kind == "point"
        if shape is None or not a_point or not OWN_ID <= own < 2 * OWN_ID:
            return proposed
        id = self._label_at(shape.points[0])
        held = self._current.get(id)
        free = held.state.deleted if held else self.objects.number(id) is None
        changed = {"object": id, "seen": held.seq if held else None}
        return proposed.model_copy(update=changed) if id and free else proposed

    def _label_at(self, place: Sequence[float]) -> int:
        """The id that the labels of the table have at a place; 0 where they have none, or are away."""
        if not self.objects.info.labels:
            return 0
        with suppress(ChunkflowError):
            labels = layer_at(self.objects.info.labels)
            return int(labels_at(labels, np.array([place]), self.objects.info.voxel_size)[0])
        return 0

    def described(self, id: int) -> dict[str, Any] | None:
        """What a page must know of an object; None where there never was one.

        One whose addition was undone has no place, and is as one that was deleted.
        """
        number, held = self.objects.number(id), self._current.get(id)
        if number is None and held is None:
            return None
        state = held.state if held else UNTOUCHED
        predicted = "" if number is None else self.objects.class_of(number)
        probability = None if number is None else _known(float(self.objects.probability[number]))
        place = None if number is None else self.objects.places[number].tolist()
        if state.shape is not None:
            place = list(middle_of(state.shape))
        return {
            "id": str(id),
            "place": place,
            "shape": state.shape.model_dump(mode="json") if state.shape is not None else None,
            "class": state.of_class or predicted,
            "predicted": predicted,
            "probability": probability,
            "status": state.status,
            "note": state.note,
            "added": state.added,
            "deleted": state.deleted or place is None,
            "seq": held.seq if held else None,
            "person": held.person if held else "",
        }

    def detailed(self, id: int) -> dict[str, Any] | None:
        """The same, with the row of the table and all edits."""
        known, number = self.described(id), self.objects.number(id)
        if known is None:
            return None
        row = {} if number is None else self.objects.row(number)
        values = {name: _known(value) for name, value in row.items() if not SHOWN_OTHERWISE.match(name)}
        edits = [edit.to_json() for edit in self.log.edits(self.table, object=id)]
        return known | {"row": values, "edits": edits}

    def queries(self) -> dict[str, str]:
        """The titles of all queries that there are now, by name."""
        names = self.log.lists.names(self.table)
        found = {TO_LEARN: "what there is most to learn from"} if TO_LEARN in names else {}
        found |= {query.name: query.title for query in self._queries.values()}
        found[DISAGREED] = "those on which people disagree"
        others = [name for name in names if name != TO_LEARN]
        return found | {f"{LIST}{name}": f"the list {name}, also those decided" for name in others}

    def _query(self, name: str) -> Query:
        """A query by its name; those that depend on what people say are read from the database."""
        if name == DISAGREED:
            return Query(name, "", self._numbers(self.log.lists.disagreed(self.table)), decided=True)
        if name.startswith(REGION):
            return Query(name, "", self.regions.numbers(*name.removeprefix(REGION).partition(":")[::2]))
        asked = name.removeprefix(LIST)
        listed = self.log.lists.ids(self.table, asked) if name == TO_LEARN or name != asked else None
        if listed is not None:
            return Query(name, "", self._numbers(listed), decided=name != TO_LEARN)
        return query_named(self._queries, name)

    def put_list(self, name: str, ids: Sequence[int]) -> None:
        """Let people go through these objects of the table, in this order, by the query `list:NAME`."""
        if unknown := [id for id in ids if self.objects.number(id) is None]:
            raise BadInput(f"The table has no object {unknown[0]}.")
        self.log.lists.put(self.table, name, ids)

    def _numbers(self, ids: Sequence[int]) -> npt.NDArray[np.int64]:
        numbers = (self.objects.number(id) for id in ids)
        return np.array([number for number in numbers if number is not None], np.int64)

    def next(self, query: str, after: int | None, person: str | None = None, ahead: int = 0) -> NextObject:
        """The object that a query gives next, behind the object `after`, and some that come behind that.

        Where a `person` is given, it is leased to them, and what others have on lease is left out. Those
        that come behind it are leased to nobody.
        """
        chosen = self._query(query)
        start = None if after is None else self.objects.number(after)
        wanted = ~self._deleted if chosen.decided else self._open.copy()
        others = 0

        def choose(leased: set[int]) -> int | None:
            nonlocal others
            numbers = [number for id in leased if (number := self.objects.number(id)) is not None]
            others = int(wanted[numbers].sum())
            wanted[numbers] = False
            found = chosen.next(wanted, start)
            return None if found is None else int(self.objects.ids[found])

        found = choose(set()) if person is None else self.log.leases.take(self.table, person, choose)
        if found is None:
            return NextObject(None, others)
        behind = chosen.behind(wanted, self.objects.number(found), start, ahead)
        detailed = (self.detailed(int(self.objects.ids[number])) for number in behind)
        return NextObject(self.described(found), others, tuple(one for one in detailed if one))

    def near(self, place: Sequence[float]) -> dict[str, Any]:
        """The objects of the table nearest to a place and how far they reach, in nanometres, and of the added
        ones those of which any part is as near."""
        numbers, distances = self.objects.near(place, NEIGHBOURS)
        whole = len(numbers) == len(self.objects)
        radius = None if whole else float(distances[-1])
        ids = [int(self.objects.ids[number]) for number in numbers]
        ids += [id for id in list(self._added) if radius is None or self._is_near(id, place, radius)]
        described = (self.described(id) for id in ids)
        return {"objects": [known for known in described if known and known["place"]], "radius": radius}

    def _is_near(self, id: int, place: Sequence[float], radius: float) -> bool:
        shape = self._current[id].state.shape
        return shape is not None and distance_to(shape, place, self.objects.info.voxel_size) <= radius


def _known(value: Any) -> Any:
    """A value of a table as JSON has it: what is no number is nothing."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
