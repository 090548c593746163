"""Tables written from rows in any order, however many, for jobs to read as a task's own.

1. Rows come in pieces. Each is sorted by id and put on the disk; of its ids a few are kept.
2. Where ids name voxels near their rows' places, files are cells of space, which are ranges of ids; else the
   table is one file, written in ranges of about equally many rows.
3. Each range is gathered from all pieces, sorted, and written. An id that is there twice is refused.
4. The layer's info comes last: before, it is no table; where anything fails, what was written is deleted.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.data.folder import Folder
from chunkflow.data.info import TableInfo
from chunkflow.data.tables import table_file, table_writer
from chunkflow.errors import BadInput
from chunkflow.geometry import Vec
from chunkflow.kernels.precomputed.morton import code_bits, id_voxels, morton_encode

RANGE = 2**18
"""Rows of a table in one file that are sorted at once, about."""
MOST_IN_CELL = 2**18
"""Rows in a cell's file, on average, at most."""
NEAR = 64
"""Voxels from a row's place to the voxel that its id names; tasks that read by place look no further."""
KEPT = 1024
"""Of this many ids one is kept, to cut the table by."""
MOST_FAR = 0.01
Ids = npt.NDArray[np.uint64]


class SortedRuns:
    """Sorted runs of an external sort: batches of rows on the disk, each sorted by id."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "rows.arrow"
        self._writer: Any = None
        self.samples: list[Ids] = []
        self.count = 0

    def add(self, rows: pa.Table) -> None:
        """Add a run: one batch in the file, sorted by id."""
        if self._writer is None:
            self._writer = pa.ipc.new_file(str(self._path), rows.schema)
        ids = rows["id"].to_numpy()
        order = np.argsort(ids, kind="stable")
        self._writer.write_table(rows.take(order).combine_chunks(), max_chunksize=max(len(rows), 1))
        first = 619 * len(self.samples) % KEPT  # elsewhere in each run, as runs may be alike
        self.samples.append(ids[order[first::KEPT]])
        self.count += len(rows)

    def ranges(self, starts: Ids) -> Iterator[pa.Table]:
        """The rows from each start up to the next, sorted by id."""
        self._writer.close()
        with pa.memory_map(str(self._path)) as file:
            reader = pa.ipc.open_file(file)
            batches = range(reader.num_record_batches)
            cuts = [np.searchsorted(reader.get_batch(i)["id"].to_numpy(), starts) for i in batches]
            for number in range(len(starts)):
                parts = []
                for i in batches:
                    first = int(cuts[i][number])
                    stop = int(cuts[i][number + 1]) if number + 1 < len(starts) else None
                    parts.append(reader.get_batch(i)[first:stop])
                yield pa.Table.from_batches(parts, reader.schema).sort_by("id")


def write_table(info: TableInfo, pieces: Iterable[pa.Table]) -> TableInfo:
    """Make the table that `info` describes, as its files are then cut; the first piece tells the columns."""
    folder = Folder(info.url)
    if folder.exists("info") or next(iter(folder.list()), None) is not None:
        raise BadInput(f"{info.url} exists already and was not touched: name another place.")
    names: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        spool, far = SortedRuns(Path(place)), 0.0
        for piece in pieces:
            spool.add(piece)
            far += count_far(piece, info)
        in_cells = spool.count > 0 and far <= MOST_FAR * spool.count
        cell = cell_for(spool.count, info) if in_cells else None
        info = info.model_copy(update={"cell": cell, "connected": in_cells})
        try:
            (_write_cells if cell else _write_one)(folder, info, spool, names)
            folder.put("info", json.dumps(info.document(), indent=1).encode())
        except BaseException:
            folder.delete(names)
            raise
    return info


def count_far(rows: pa.Table, info: TableInfo) -> float:
    """How many ids name a voxel far from their row; infinitely many where one names none."""
    if "x" not in rows.column_names:
        return math.inf
    ids, size = rows["id"].to_numpy(), info.volume.size
    places = np.floor(np.stack([rows[axis].to_numpy() for axis in "xyz"], 1)) - np.array(info.volume.start)
    named = ids <= np.uint64(1) << np.uint64(code_bits(size))
    voxels = np.full(places.shape, -(2**62), np.int64)
    voxels[named] = id_voxels(ids[named], size)
    if not ((voxels >= 0) & (voxels < size)).all():
        return math.inf
    return float((np.abs(voxels - places) > NEAR).any(axis=1).sum())


def cell_for(count: int, info: TableInfo) -> Vec:
    """A cube with a power of two as its side, small enough that a file has not too many rows."""
    side = 1 << (max(info.volume.size) - 1).bit_length()
    while side > NEAR and count * side**3 > MOST_IN_CELL * info.volume.voxels:
        side //= 2
    return side, side, side


def _write_cells(folder: Folder, info: TableInfo, spool: SortedRuns, names: list[str]) -> None:
    grid = info.grid
    corners = np.array([grid.box(index).start for index in range(len(grid))]) - np.array(info.volume.start)
    starts = morton_encode(corners, info.volume.size) + np.uint64(1)
    order = np.argsort(starts)
    starts[order[0]] = 0
    for index, rows in zip(order, spool.ranges(starts[order]), strict=True):
        refuse_doubled(rows, info)
        names.append(table_file(index))
        _write(folder, names[-1], [rows])


def _write_one(folder: Folder, info: TableInfo, spool: SortedRuns, names: list[str]) -> None:
    samples = np.sort(np.concatenate(spool.samples))
    starts = np.unique(np.concatenate([np.zeros(1, np.uint64), samples[:: max(1, RANGE // KEPT)]]))
    names.append(table_file(0))

    def pieces() -> Iterator[pa.Table]:
        for rows in spool.ranges(starts):
            refuse_doubled(rows, info)
            yield rows

    _write(folder, names[-1], pieces())


def _write(folder: Folder, name: str, pieces: Iterable[pa.Table]) -> None:
    """The file grows on the disk, whatever it holds."""
    with tempfile.TemporaryFile() as file:
        writer = None
        for rows in pieces:
            writer = writer or table_writer(file, rows.schema)
            writer.write_table(rows)
        assert writer is not None
        writer.close()
        file.seek(0)
        folder.put(name, file)


def refuse_doubled(rows: pa.Table, info: TableInfo) -> None:
    """The same id twice stands next to itself."""
    ids = rows["id"].to_numpy()
    again = np.flatnonzero(ids[1:] == ids[:-1])
    if not len(again):
        return
    row = int(again[0])
    place = ""
    if "x" in rows.column_names:
        x, y, z = (rows[axis][row].as_py() for axis in "xyz")
        place = f", one at {x:g}, {y:g}, {z:g},"
    raise BadInput(
        f"At least {len(again)} ids are there more than once: {int(ids[row])}{place} is the first. Points "
        "without ids are named by the voxel that they lie in: leave one in each, or give all an id "
        "of their own."
    )
