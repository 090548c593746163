"""All objects of a reviewed table as a precomputed annotation layer of points, each cell made when asked for.

Edits are laid over the table: deleted objects are left out, moved ones are at their new place, added ones
among the others. What stays as the table has it costs a look at a few arrays.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.data.info import ANNOTATIONS
from chunkflow.kernels.precomputed.annotations import draw_of, encode_lists, encode_singles, record_type
from chunkflow.people.review.log.edits import ObjectState
from chunkflow.people.review.objects import TableObjects
from chunkflow.people.review.point_cells import LIMIT, CellKey, PointCells
from chunkflow.people.review.shapes import middle_of

STATUSES = ("undecided", "accepted", "rejected")
NO_CLASS_NAME = "none"
CELL = re.compile(r"spatial(\d{1,3})/(\d{1,9})_(\d{1,9})_(\d{1,9})")
SINGLE = re.compile(r"by_id/(\d{1,20})")
FORMAT = "1"
"""Of the layer: another one where the same table would be cut into other cells."""
Record = tuple[tuple[float, float, float], int, int]
"""A place, a status and a class, as a viewer gets them."""
_RECORD = record_type(3, ["uint16", "uint16"])


def enumerated(name: str, labels: Sequence[str]) -> dict[str, Any]:
    """A property of annotations that is one of some named values."""
    return {
        "id": name,
        "type": "uint16",
        "enum_values": list(range(len(labels))),
        "enum_labels": list(labels),
    }


def point_properties(objects: TableObjects) -> list[dict[str, Any]]:
    """The properties of every point of a review: its status and its class."""
    return [enumerated("status", STATUSES), enumerated("class", [NO_CLASS_NAME, *objects.classes])]


class PointLayer:
    """The files of the layer; any thread may ask for them, and tell of edits."""

    def __init__(self, objects: TableObjects, limit: int = LIMIT) -> None:
        self._objects = objects
        self._cells = PointCells.of(objects, limit)
        self._class_numbers = {name: number for number, name in enumerate(objects.classes, start=1)}
        self._status = np.zeros(len(objects), np.uint16)
        self._class = (objects.of_class + 1).astype(np.uint16)
        self._away = np.zeros(len(objects), bool)
        """Objects that are deleted, or not where the table has them."""
        self._placed: dict[int, tuple[CellKey, Record]] = {}
        """Those that people have added or moved."""
        self._of_cell: dict[CellKey, set[int]] = {}
        self._lock = threading.Lock()
        named = "\n".join([FORMAT, objects.generation, *objects.classes])
        self.version = hashlib.sha256(named.encode()).hexdigest()[:16]
        """The same for the same cells and classes."""

    def keep(self, id: int, state: ObjectState) -> None:
        """Take what people say of an object now."""
        number = self._objects.number(id)
        with self._lock:
            if id in self._placed:
                key, _ = self._placed.pop(id)
                self._of_cell[key].discard(id)
            status, of_class = STATUSES.index(state.status or STATUSES[0]), state.of_class
            known = self._class_numbers.get(of_class, 0)
            if number is not None:
                known = known if of_class else int(self._objects.of_class[number]) + 1
                self._status[number], self._class[number] = status, known
                self._away[number] = state.deleted or state.shape is not None
            if state.shape is not None and not state.deleted:
                place = middle_of(state.shape)
                key = self._cells.key_of(id, place)
                self._placed[id] = key, (place, status, known)
                self._of_cell.setdefault(key, set()).add(id)

    def file(self, path: str) -> bytes | None:
        """A file of the layer by its path; None where it has none of this name."""
        if path == "info":
            return json.dumps(self._info()).encode()
        if found := CELL.fullmatch(path):
            level, *cell = (int(text) for text in found.groups())
            code = self._cells.code(level, cell)
            return None if code is None else self._cell((level, code))
        if found := SINGLE.fullmatch(path):
            return self._single(int(found[1]))
        return None

    def _info(self) -> dict[str, Any]:
        info, levels = self._objects.info, self._cells.levels
        spatial = [
            {
                "key": f"spatial{level}",
                "grid_shape": list(levels.shape(level)),
                "chunk_size": list(levels.cells[level]),
                "limit": self._cells.limit(level),
            }
            for level in range(len(self._cells))
        ]
        start = info.volume.start
        return {
            "@type": ANNOTATIONS,
            "dimensions": {
                axis: [float(f"{v}e-9"), "m"] for axis, v in zip("xyz", info.voxel_size, strict=True)
            },
            "lower_bound": [float(n) for n in start],
            "upper_bound": [float(a + n) for a, n in zip(start, levels.extent, strict=True)],
            "annotation_type": "POINT",
            "properties": point_properties(self._objects),
            "relationships": [],
            "by_id": {"key": "by_id"},
            "spatial": spatial,
        }

    def _cell(self, key: CellKey) -> bytes:
        """The points of a cell in the order of their draw, so that the first few are a fair sample."""
        with self._lock:
            numbers = self._cells.of_cell(key)
            numbers = numbers[~self._away[numbers]]
            placed = sorted(self._of_cell.get(key, ()))
            records = np.zeros(len(numbers) + len(placed), _RECORD)
            whole = records[: len(numbers)]
            whole["place"] = self._objects.places[numbers]
            whole["p0"], whole["p1"] = self._status[numbers], self._class[numbers]
            for at, id in enumerate(placed, start=len(numbers)):
                _, (records["place"][at], records["p0"][at], records["p1"][at]) = self._placed[id]
        ids = np.concatenate([self._objects.ids[numbers], np.array(placed, np.uint64)])
        order = np.lexsort((ids, draw_of(ids)))
        data, _ = encode_lists(_bytes(records[order]), ids[order], np.array([len(ids)]))
        return data.tobytes()

    def _single(self, id: int) -> bytes | None:
        if not id < 2**64:
            return None
        number, record = self._objects.number(id), np.zeros(1, _RECORD)
        with self._lock:
            if id in self._placed:
                _, (record["place"][0], record["p0"], record["p1"]) = self._placed[id]
            elif number is not None and not self._away[number]:
                record["place"] = self._objects.places[number]
                record["p0"], record["p1"] = self._status[number], self._class[number]
            else:
                return None
        return encode_singles(_bytes(record), [])[0].tobytes()


def _bytes(records: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(records).view(np.uint8).reshape(len(records), _RECORD.itemsize)
