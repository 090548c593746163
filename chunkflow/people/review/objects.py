"""Objects of a table as people review them: where they are, what the table says that they are.

What is asked of every object at once (ids, places, classes, probabilities) is kept in memory, some 50 bytes
for each; all other columns are read of one object when somebody looks at it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.data.info import TableInfo
from chunkflow.data.tables import read_file, table_pieces
from chunkflow.errors import BadInput

PLACES = ("x", "y", "z")
NO_CLASS = -1
KEPT_FILES = 4
"""Files of the table that are kept in memory: who goes through objects stays in a region."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TableObjects:
    """The objects of a table, by rising id."""

    info: TableInfo
    columns: tuple[str, ...]
    ids: npt.NDArray[np.uint64]
    places: Floats
    """In voxels of the table's layer."""
    classes: tuple[str, ...]
    """The names of the classes that the table knows, and of others that people may give."""
    of_class: npt.NDArray[np.int16]
    """The number of each object's class; NO_CLASS where it has none."""
    probability: npt.NDArray[np.float32]
    """That of the class; NaN where the table does not say."""
    file: npt.NDArray[np.int32]
    """The file of the table that has the row."""
    diameter: float | None = None
    """Of half of the objects it is larger, in micrometres; None where the table does not say."""

    @classmethod
    def read(cls, info: TableInfo, classes: Sequence[str] = ()) -> TableObjects:
        """Read a table, whose objects may be of other `classes`, too; it must have ids and places."""
        schema = next(table_pieces(info, info.grid.box(0))).schema
        missing = [name for name in ("id", *PLACES) if name not in schema.names]
        if missing:
            raise BadInput(
                f"The table {info.url} has no column {missing[0]}: to be reviewed, objects need an id and a "
                "place (x, y, z in voxels)."
            )
        known = ("id", *PLACES, "class", "probability", "diameter_um")
        wanted = [name for name in known if name in schema.names]
        parts = [
            (piece, index)
            for index in range(len(info.grid))
            for piece in table_pieces(info, info.grid.box(index), wanted)
        ]
        rows = pa.concat_tables([piece for piece, _ in parts])
        file = np.repeat([index for _, index in parts], [len(piece) for piece, _ in parts])
        ids = rows["id"].to_numpy().astype(np.uint64)
        order = np.argsort(ids, kind="stable")
        places = np.stack([rows[axis].to_numpy().astype(float) for axis in PLACES], axis=1)
        others = [name.removeprefix("p_") for name in schema.names if name.startswith("p_")]
        names, of_class = _classes(rows, [*others, *classes])
        nothing = np.full(len(ids), np.nan, np.float32)
        said = "probability" in wanted
        probability = rows["probability"].to_numpy().astype(np.float32) if said else nothing
        sized = len(rows) and "diameter_um" in wanted
        return cls(
            info,
            tuple(schema.names),
            ids[order],
            places[order],
            names,
            of_class[order],
            probability[order],
            file[order].astype(np.int32),
            float(np.nanmedian(rows["diameter_um"].to_numpy())) if sized else None,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _rows_of_file(self) -> Callable[[int], pa.Table]:
        return lru_cache(KEPT_FILES)(partial(read_file, self.info))

    def number(self, id: int) -> int | None:
        """The position of an object among all; None where the table has it not."""
        at = int(np.searchsorted(self.ids, np.uint64(id)))
        return at if at < len(self.ids) and int(self.ids[at]) == id else None

    def class_of(self, number: int) -> str:
        """The name of the class that the table gives an object; empty where it gives none."""
        known = int(self.of_class[number])
        return "" if known == NO_CLASS else self.classes[known]

    def row(self, number: int) -> dict[str, Any]:
        """All columns of one object."""
        rows = self._rows_of_file(int(self.file[number]))
        found = np.flatnonzero(rows["id"].to_numpy() == self.ids[number])
        if not len(found):
            raise BadInput(f"The table {self.info.url} was made anew while it was reviewed: open it again.")
        row: dict[str, Any] = rows.slice(int(found[0]), 1).to_pylist()[0]
        return row

    def near(self, place: Sequence[float], most: int) -> tuple[npt.NDArray[np.int64], Floats]:
        """The objects nearest to a place, at most so many, the nearest first; and how far they are, in nm."""
        away = np.linalg.norm((self.places - np.array(place)) * np.array(self.info.voxel_size), axis=1)
        chosen = np.argpartition(away, most)[:most] if len(away) > most else np.arange(len(away))
        order = chosen[np.argsort(away[chosen], kind="stable")]
        return order, away[order]

    @cached_property
    def generation(self) -> str:
        """The same for the same objects, classes and probabilities; another one once the table is another."""
        named = np.array(["", *self.classes])[self.of_class + 1]
        content = hashlib.sha256("\n".join(named.tolist()).encode())
        for array in (self.ids, self.places, self.probability):
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()[:32]


def _classes(rows: pa.Table, others: Sequence[str]) -> tuple[tuple[str, ...], npt.NDArray[np.int16]]:
    """The names of all classes, sorted, and the number of each object's."""
    said = np.full(len(rows), "")
    if "class" in rows.column_names:
        said = np.array(["" if name is None else str(name) for name in rows["class"].to_pylist()], dtype=str)
    names = sorted({*said.tolist(), *others} - {""})
    numbers = np.searchsorted(names, said).astype(np.int16) if names else np.zeros(len(said), np.int16)
    return tuple(names), np.where(said == "", np.int16(NO_CLASS), numbers).astype(np.int16)
