"""Points that were read, completed to the rows of a table layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.data.info import TableInfo
from chunkflow.errors import BadInput
from chunkflow.formats.points.files import positions
from chunkflow.kernels.precomputed.morton import voxel_ids

FIRST = ("id", "x", "y", "z", "x_um", "y_um", "z_um")


class Completed:
    """Rows as the table has them: with ids and micrometres, columns in the usual order; and how many."""

    def __init__(self, pieces: Iterator[pa.Table], info: TableInfo) -> None:
        self._pieces, self.info, self.count = pieces, info, 0

    def rows(self) -> Iterator[pa.Table]:
        schema = None
        for piece in self._pieces:
            made = self._complete(piece)
            schema = schema or made.schema
            self.count += len(made)
            yield made.cast(schema)

    def _complete(self, piece: pa.Table) -> pa.Table:
        columns: dict[str, Any] = {name: _plain(piece[name]) for name in piece.column_names}
        if "x" in columns:
            places, first = positions(piece), np.array(self.info.volume.start)
            if "id" not in columns:
                voxels = np.clip(
                    np.floor(places).astype(np.int64) - first, 0, np.array(self.info.volume.size) - 1
                )
                columns["id"] = pa.array(voxel_ids(voxels, self.info.volume.size))
            for axis, name in enumerate(("x_um", "y_um", "z_um")):
                columns.setdefault(name, pa.array(places[:, axis] * (self.info.voxel_size[axis] / 1e3)))
        if pc.any(pc.equal(columns["id"], 0)).as_py():
            row = self.count + pc.index(columns["id"], 0).as_py() + 1
            raise BadInput(f"Row {row} has the id 0, which means background: no object may have it.")
        order = [name for name in FIRST if name in columns] + [n for n in columns if n not in FIRST]
        return pa.table({name: columns[name] for name in order})


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dictionaries differ from piece to piece; their values do not."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
