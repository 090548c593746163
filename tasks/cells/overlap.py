"""The table of overlaps: how many voxels each pair of labels shares, of two layers of the same voxels.

1. `map` counts the pairs of a chunk, runs of equal voxels at a time.
2. `merge` adds the counts of the same pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from chunkflow.chunk import Chunk
from chunkflow.kernels.scoring.agreement import add_overlaps, count_overlaps
from chunkflow.task import Cell, Labels, Layout, MergedRows, Objects, Out, Task

OPEN = 63
"""All faces: a pair may occur anywhere, however `labels` are known to be connected."""


class Overlap(Task):
    """Count how many voxels each object of `labels` shares with each of `other`: agreement follows from it.

    Columns: `id` (in `labels`), `other` (the id in `other`), `voxels`; one row a pair that shares any. Id 0
    is what belongs to no object, so the sizes of all objects, and the number of all voxels, are sums of rows.
    All is exact, however the volume is cut.
    """

    shape = MergedRows()

    labels: Labels = Field(description="the objects, as found")
    other: Labels = Field(description="the objects to compare them with, as the true ones")
    overlaps: Objects = Out("the table, one row a pair of objects")

    def map(self, cell: Cell, labels: Chunk, other: Chunk) -> pa.Table:
        ids, others, voxels = count_overlaps(labels.array, other.array)
        return _rows(ids, others, voxels)

    def no_rows(self, layout: Layout) -> pa.Table:
        nothing = np.empty(0, np.uint64)
        return _rows(nothing, nothing, np.empty(0, np.int64))

    def merge(self, rows: pa.Table) -> pa.Table:
        return _rows(*add_overlaps(*(rows[name].to_numpy() for name in ("id", "other", "voxels"))))

    def finish(self, cell: Cell, rows: pa.Table) -> pa.Table:
        return rows.drop_columns(["faces"])


def _rows(ids: Any, others: Any, voxels: Any) -> pa.Table:
    faces = np.full(len(ids), OPEN, np.uint8)
    return pa.table({"id": ids, "other": others, "voxels": voxels, "faces": faces})
