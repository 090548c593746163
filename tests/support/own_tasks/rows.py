"""Tasks that make rows, files of blocks, or tables from tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain

import numpy as np
import pyarrow as pa

from chunkflow.chunk import Array, Chunk
from chunkflow.geometry import Box, Grid
from chunkflow.task import (
    Cell,
    Counts,
    Image,
    Labels,
    Layout,
    MergedRows,
    Meshes,
    Objects,
    Out,
    Report,
    Result,
    RowByRow,
    Task,
)


class Count(Task):
    """For each object its voxels, the sum of the image over them, and whether the job's box cuts it."""

    shape = MergedRows()
    empty_from_empty = True
    labels: Labels
    image: Image = ""
    objects: Objects = Out()

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box.grow((1, 1, 1)) if field == "labels" else box]

    def no_rows(self, layout: Layout) -> pa.Table:
        return rows_of(np.zeros(0, np.uint64), np.zeros(0), np.zeros(0), np.zeros(0))

    def map(self, cell: Cell, labels: Chunk, image: Chunk | None = None) -> Result:
        inner = labels.crop(cell.box).array
        values = np.ones(inner.shape, np.uint64) if image is None else image.array
        ids, place = np.unique(inner, return_inverse=True)
        voxels = np.bincount(place.ravel())
        total = np.bincount(place.ravel(), values.ravel())
        rows = rows_of(ids, voxels, total, faces_of(ids, labels, cell.box))
        return rows.slice(1) if len(ids) and ids[0] == 0 else rows

    def merge(self, rows: pa.Table) -> pa.Table:
        ids, starts = np.unique(rows["id"].to_numpy(), return_index=True)
        columns = [np.add.reduceat(rows[name].to_numpy(), starts) for name in ("voxels", "total")]
        return rows_of(ids, *columns, np.bitwise_or.reduceat(rows["faces"].to_numpy(), starts))

    def finish(self, cell: Cell, rows: pa.Table) -> pa.Table:
        cut = pa.array(rows["faces"].to_numpy() != 0)
        return rows.drop_columns(["faces"]).append_column("cut", cut)


def rows_of(ids: Array, voxels: Array, total: Array, faces: Array) -> pa.Table:
    return pa.table(
        {
            "id": ids.astype(np.uint64),
            "voxels": voxels.astype(np.uint64),
            "total": total.astype(np.uint64),
            "faces": faces.astype(np.uint8),
        }
    )


def faces_of(ids: Array, labels: Chunk, box: Box) -> Array:
    """For each id the faces of `box` with its voxels on both sides; the labels cover one voxel more."""
    faces = np.zeros(len(ids), np.uint8)
    for axis in range(3):
        for side in range(2):
            outside = box.stop[axis] if side else box.start[axis] - 1
            at = outside - labels.box.start[axis]
            if not 0 <= at < labels.array.shape[axis]:
                continue
            beyond = np.unique(np.take(labels.array, at, axis))
            faces[np.isin(ids, beyond)] |= 1 << (2 * axis + side)
    return faces


class Blocks(Task):
    """A file for each block of a lattice of its own, and one for each object that lists its blocks."""

    shape = MergedRows()
    empty_from_empty = True
    labels: Labels
    meshes: Meshes = Out()
    side: int = 24

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.lattice(region, (self.side,) * 3)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box.grow((1, 1, 1))]

    def map(self, cell: Cell, labels: Chunk) -> Result:
        inner = labels.crop(cell.box).array
        ids, counts = np.unique(inner[inner != 0], return_counts=True)
        rows = pa.table(
            {
                "id": ids,
                "blocks": pa.array([[str(cell.box)]] * len(ids), pa.list_(pa.string())),
                "faces": faces_of(ids, labels, cell.box),
            }
        )
        content = json.dumps(dict(zip(map(str, ids.tolist()), counts.tolist(), strict=True))).encode()
        return rows, {f"block-{cell.box}": content} if len(ids) else {}

    def no_rows(self, layout: Layout) -> pa.Table:
        types = {"id": pa.uint64(), "blocks": pa.list_(pa.string()), "faces": pa.uint8()}
        return pa.schema(types.items()).empty_table()

    def merge(self, rows: pa.Table) -> pa.Table:
        ids, starts = np.unique(rows["id"].to_numpy(), return_index=True)
        named = rows["blocks"].to_pylist()
        stops = [*starts[1:], len(rows)]
        merged = [sorted(chain.from_iterable(named[a:b])) for a, b in zip(starts, stops, strict=True)]
        faces = np.bitwise_or.reduceat(rows["faces"].to_numpy(), starts)
        return pa.table({"id": ids, "blocks": pa.array(merged, pa.list_(pa.string())), "faces": faces})

    def finish(self, cell: Cell, rows: pa.Table) -> dict[str, bytes]:
        named = zip(rows["id"].to_pylist(), rows["blocks"].to_pylist(), strict=True)
        return {f"{label}:0": json.dumps({"fragments": blocks}).encode() for label, blocks in named}


class Rows(Task):
    """A table made from a table: the same rows, with twice the voxels."""

    shape = MergedRows()

    objects: Objects
    doubled: Objects = Out()

    def grid(self, layout: Layout, region: Box) -> Grid:
        info = layout.info("objects")
        return Grid(region, info.grid.cell, info.grid.anchor)

    def map(self, cell: Cell, objects: pa.Table) -> Result:
        return objects.append_column("double", pa.array(objects["voxels"].to_numpy() * 2))

    def merge(self, rows: pa.Table) -> pa.Table:
        return rows


class Even(Task):
    """The rows whose number of voxels is even, with its half; and how many have not."""

    shape = RowByRow()

    objects: Objects
    even: Objects = Out()

    def map(self, cell: Cell, objects: pa.Table) -> Result:
        voxels = objects["voxels"].to_numpy()
        rows = objects.append_column("half", pa.array(voxels // 2)).filter(pa.array(voxels % 2 == 0))
        return rows, Counts({"odd": int((voxels % 2).sum())})


class EvenAndTold(Even):
    """What the engine has no place for: rows as they come, and files of them."""

    report: Report = Out()

    def map(self, cell: Cell, objects: pa.Table) -> Result:
        return objects, {"rows.txt": str(len(objects)).encode()}


class MergedAndTold(EvenAndTold):
    """The same with rows that are put together."""

    shape = MergedRows(row_by_row=True)

    def merge(self, rows: pa.Table) -> pa.Table:
        return rows


class Tell(Task):
    """How many rows a table has, in a file for people."""

    objects: Objects
    report: Report = Out()

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.whole(region)

    def map(self, cell: Cell, objects: pa.Table) -> Result:
        return {"rows.txt": str(len(objects)).encode()}
