"""Small tasks with which the engine is tested: each result can be computed for a whole volume at once."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from chunkflow.chunk import Array, Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.errors import StorageError
from chunkflow.geometry import Box, Grid, Vec, VoxelSize
from chunkflow.kernels.precomputed.morton import voxel_ids
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
    WindowTooSmall,
)


def padded(chunk: Chunk, box: Box) -> Array:
    """The chunk's voxels over `box`; those at the volume's border are repeated beyond it."""
    before = [
        (max(a - b, 0), max(d - c, 0))
        for a, b, c, d in zip(chunk.box.start, box.start, chunk.box.stop, box.stop, strict=True)
    ]
    return np.pad(chunk.array, before, mode="edge")


class Smooth(Task):
    """The mean of the voxels around each, in whole numbers; it may ask for its full window."""

    image: Image
    smooth: Image = Out()
    radius: int = 2
    asks: bool = False

    def halo(self, voxel_size: VoxelSize) -> Sequence[Vec]:
        full = (self.radius,) * 3
        return [(0, 0, 0), full] if self.asks else [full]

    def map(self, cell: Cell, image: Chunk) -> Result:
        wanted = cell.box.grow((self.radius,) * 3)
        if not image.box.contains(wanted.clip(cell.volume)):
            raise WindowTooSmall
        total = np.cumsum(padded(image, wanted), 0, np.uint64)
        for axis in range(3):
            total = np.cumsum(total, axis) if axis else total
            edge = np.zeros((1, *np.delete(total.shape, axis)), np.uint64)
            total = np.concatenate([np.moveaxis(edge, 0, axis), total], axis)
            last = total.shape[axis] - (2 * self.radius + 1)
            total = np.take(total, np.arange(last) + 2 * self.radius + 1, axis) - np.take(
                total, np.arange(last), axis
            )
        mean = total // np.uint64((2 * self.radius + 1) ** 3)
        return Chunk(mean.astype(image.array.dtype), cell.box, cell.voxel_size)


class Tiles(Task):
    """Cuboids counted from the volume's first voxel, each named by its own first voxel; some are left out.

    A voxel is labelled where the image is above `level`, decided by `prepare` from the image's corner unless
    given; then tiles are in pieces, so the labels count as connected only for level 0.
    """

    connected = False
    image: Image
    labels: Labels = Out()
    size: Vec = (9, 13, 40)
    level: int | None = None

    def samples(self, layout: Layout) -> list[tuple[str, Box]]:
        corner = Box.of_size((8, 8, 8), layout.main.volume.start).clip(layout.main.volume)
        return [("image", corner)]

    def prepare(self, layout: Layout, samples: Iterable[Any]) -> dict[str, Any]:
        means = [int(sample.array.mean()) for sample in samples]
        return {"level": means[0] if self.level is None else self.level}

    def map(self, cell: Cell, image: Chunk) -> Result:
        labels = tiles(cell.box, cell.volume, self.size)
        return {"labels": image.like(np.where(image.array >= cell.values["level"], labels, np.uint64(0)))}


class WholeTiles(Tiles):
    """Tiles in one piece each."""

    connected = True

    def map(self, cell: Cell, image: Chunk) -> Result:
        return image.like(tiles(cell.box, cell.volume, self.size))


def tiles(box: Box, volume: Box, size: Vec) -> Array:
    places = [np.arange(a, b) - o for a, b, o in zip(box.start, box.stop, volume.start, strict=True)]
    x, y, z = np.meshgrid(*(p // s for p, s in zip(places, size, strict=True)), indexing="ij")
    first = np.stack([x * size[0], y * size[1], z * size[2]], -1).reshape(-1, 3)
    ids = voxel_ids(first, volume.size).reshape(x.shape)
    return np.asfortranarray(np.where((x * 7 + y * 3 + z) % 5 == 0, np.uint64(0), ids))


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


class Sections(Task):
    """Copies an image section by section, each after the one before, and notes in which order."""

    after = ((0, 0, -1),)
    image: Image
    copy_: Image = Out()
    log: str

    def map(self, cell: Cell, image: Chunk) -> Result:
        with open(self.log, "a") as file:
            file.write(f"{cell.box.start[2]}\n")
        return image


class Two(Task):
    """Two layers of unlike kinds at once."""

    image: Image
    bright: Labels = Out()
    inverse: Image = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"bright": layout.main.as_labels(), "inverse": layout.main.as_image("float32")}

    def map(self, cell: Cell, image: Chunk) -> Result:
        bright = image.like((image.array > 100).astype(np.uint64))
        return {"bright": bright, "inverse": image.like(-image.array.astype(np.float32))}


class Coarse(Task):
    """Every second voxel, on a grid of its own in the coarser voxels."""

    image: Image
    half: Image = Out()
    cell_size: Vec = Field((64, 64, 64))

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        main = layout.main
        x, y, z = main.voxel_size
        return {"half": main.over(main.volume.coarsen((2, 2, 2)), (2 * x, 2 * y, 2 * z))}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.chunks(region, self.cell_size)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box.refine((2, 2, 2))]

    def map(self, cell: Cell, image: Chunk) -> Result:
        first = [-(a % 2) for a in image.box.start]
        places = [np.arange(n) * 2 + f for n, f in zip(cell.box.size, first, strict=True)]
        places = [np.clip(p, 0, n - 1) for p, n in zip(places, image.array.shape, strict=True)]
        return Chunk(np.asfortranarray(image.array[np.ix_(*places)]), cell.box, cell.voxel_size)


class Faulty(Task):
    """Labels what is bright; in some cells something goes wrong, until `marks` holds a file `mended`. Every
    cell waits while it holds a file `hold`, and says there whose process it is that waits."""

    image: Image
    labels: Labels = Out()
    marks: str
    faults: dict[int, str] = Field(default_factory=dict)
    pause: float = 0.0

    def map(self, cell: Cell, image: Chunk) -> Result:
        time.sleep(self.pause)
        marks = Path(self.marks)
        while (marks / "hold").exists():
            (marks / f"held-{os.getpid()}").touch()
            time.sleep(0.02)
        fault = self.faults.get(cell.index, "")
        if fault and not (marks / "mended").exists():
            tries = len(list(marks.glob(f"{cell.index}.*")))
            (marks / f"{cell.index}.{tries}").touch()
            go_wrong(fault, tries)
        return image.like((image.array >= 500).astype(np.uint64))


def go_wrong(fault: str, tries: int) -> None:
    """One fault of each kind that a map can have."""
    if fault == "raise":
        raise ValueError("this cell cannot be done")
    if fault == "memory":
        np.zeros(2**55)
    if fault == "exit":
        os._exit(7)
    if fault == "sys.exit":
        sys.exit(7)
    if fault == "hang":
        time.sleep(3600)
    if fault == "storage" or (fault == "flaky" and tries < 3):
        raise StorageError("the store does not answer")


class WrongType(Task):
    """Returns what is no label."""

    image: Image
    labels: Labels = Out()

    def map(self, cell: Cell, image: Chunk) -> Result:
        return image.like(image.array.astype(np.float64))


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


class Unmapped(Task):
    """A task that says what it makes, but not how."""

    image: Image
    made: Image = Out()


class Shapeless(Unmapped):
    """A table whose rows nobody puts together."""

    table: Objects = Out()

    def map(self, cell: Cell, image: Chunk) -> Result:
        return image
