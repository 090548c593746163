"""Shuffle spill: rows on their way to other cells, sorted by cell on the worker's disk.

They may not fit in its memory.

1. Rows are sorted by the cells that they go to, and those that go to one cell are written as one batch.
2. All batches stand in one temporary file, whatever the number of cells.
3. In the end the batches of each cell are put together, one cell at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def by_cell(rows: pa.Table, cells: npt.NDArray[np.int64]) -> Iterator[tuple[int, pa.Table]]:
    """Each cell that rows go to, and all that go there, in their order."""
    order = np.argsort(cells, kind="stable")
    cells = cells[order]
    rows = rows.take(pa.array(order)).combine_chunks()
    cuts = [0, *(np.flatnonzero(cells[1:] != cells[:-1]) + 1).tolist(), len(cells)]
    for first, last in pairwise(cuts):
        yield int(cells[first]), rows.slice(first, last - first)


def addressed(rows: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """The same of rows that name the cell that each goes to in a column `cell`."""
    if len(rows):
        yield from by_cell(rows.drop_columns(["cell"]), rows["cell"].to_numpy())


class Spill:
    """The rows that one cell sends, on the disk as they may not fit in memory."""

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(suffix=".arrow")  # noqa: SIM115 - __exit__ closes it
        self._writer: pa.RecordBatchFileWriter | None = None
        self._batches: dict[int, list[int]] = {}
        self._count = 0

    def __enter__(self) -> Spill:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        self._file.close()

    def add(self, rows: pa.Table) -> None:
        for cell, found in addressed(rows):
            if self._writer is None:
                self._writer = pa.ipc.new_file(self._file, found.schema)
            for batch in found.to_batches():
                self._writer.write_batch(batch)
                self._batches.setdefault(cell, []).append(self._count)
                self._count += 1

    def by_cell(self) -> Iterator[tuple[int, pa.Table]]:
        """Each cell, and all that goes to it."""
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        self._file.flush()
        with pa.OSFile(self._file.name) as source:
            reader = pa.ipc.open_file(source)
            for cell, batches in sorted(self._batches.items()):
                yield cell, pa.Table.from_batches([reader.get_batch(n) for n in batches]).combine_chunks()
