"""Meshes: marching cubes, then fewer triangles, in blocks whose surfaces join.

1. Blocks lie on a lattice counted from voxel 0, so that the job's chunks change no triangle. A block reads
   one voxel beyond its far faces: its surfaces end in the planes of voxel centres where the next ones begin.
2. Where the volume ends, the block is padded with nothing, which closes the surfaces there.
3. Each surface is simplified with its vertices in the block's border planes fixed, so both sides of a plane
   keep the same edges, and fragments join without cracks.
4. Each fragment is a file. The rows say which objects have fragments in which blocks, up the tree, and become
   one manifest an object.
"""

from __future__ import annotations

import json
from math import prod
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from chunkflow.chunk import Chunk
from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.kernels.marching import surfaces
from chunkflow.kernels.simplify import simplify
from chunkflow.task import Cell, Files, Labels, Layout, Meshes, Out, Task

DEFAULT_ERROR = 1.1
"""In voxels: the edge of a cube as large as one."""

_SCHEMA = pa.schema([("id", pa.uint64()), ("faces", pa.uint8()), ("fragments", pa.list_(pa.string()))])


class Mesh(Task):
    """Make a surface of every object of `labels`, as CloudVolume and Neuroglancer read them.

    Surfaces are in nanometres, and closed where the volume ends. They are simplified as far as `error`
    allows, a block at a time, whatever the chunks of the job; fragments of blocks join without cracks.
    """

    labels: Labels = Field(description="the objects: name, or name@mip for coarser meshes")
    meshes: Meshes = Out("the folder of meshes; by default `mesh` in the labels' own")
    error: float | None = Field(
        None,
        ge=0,
        description="how far a patch as wide may lie off the voxels' surface, nm; 1.1 voxels if left out",
    )
    block: tuple[int, int, int] = Field(
        (256, 256, 256), description="voxels of a block, whose parts of the surfaces are simplified together"
    )

    working_bytes: ClassVar[float] = 20.0

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.lattice(region, vec(self.block))

    def reads(self, field: str, box: Box, layout: Layout) -> list[Box]:
        return [Box(box.start, vec(n + 1 for n in box.stop))]

    def map(self, cell: Cell, labels: Chunk) -> tuple[Files, pa.Table]:  # type: ignore[override]
        # In 24 bits: so the places of fixed vertices, whole and half voxels, lose nothing on the way, and the
        # blocks on both sides of a plane round them to nanometres alike.
        scale = np.array(cell.voxel_size, np.float32).astype(np.float64)
        error = DEFAULT_ERROR * prod(cell.voxel_size) ** (1 / 3) if self.error is None else self.error
        array, first = _closed(labels, cell)
        block = str(cell.box)
        files: Files = {}
        fragments: dict[int, str] = {}
        for name, vertices, faces in surfaces(array):
            border = _in_border_planes(vertices, array.shape)
            points, triangles = simplify(vertices * scale, faces, border, error)
            if len(triangles):
                fragments[name] = f"{name}:0:{block}"
                files[fragments[name]] = _encoded((points / scale + first + 0.5) * cell.voxel_size, triangles)
        return files, _rows(labels, cell, fragments)

    def no_rows(self, layout: Layout) -> pa.Table:
        return _SCHEMA.empty_table()

    def merge(self, rows: pa.Table) -> pa.Table:
        ids = rows["id"].to_numpy()
        begins = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
        lists = pa.concat_arrays(rows["fragments"].chunks)
        counts = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))])
        offsets = np.append(counts[begins], counts[-1]).astype(np.int32)
        merged = {
            "id": ids[begins],
            "faces": np.bitwise_or.reduceat(rows["faces"].to_numpy(), begins),
            "fragments": pa.ListArray.from_arrays(offsets, lists.flatten()),
        }
        return pa.table(merged, schema=_SCHEMA)

    def finish(self, cell: Cell, rows: pa.Table) -> Files:
        """One manifest an object, its fragments in an order that no cut changes."""
        named = zip(rows["id"].to_pylist(), rows["fragments"].to_pylist(), strict=True)
        return {
            f"{name}:0": json.dumps({"fragments": sorted(fragments)}).encode()
            for name, fragments in named
            if fragments
        }


def _closed(labels: Chunk, cell: Cell) -> tuple[npt.NDArray[np.unsignedinteger], Vec]:
    """The voxels with a border of nothing where block and volume end, and the place of the first of them.

    Where only the one voxel read beyond the block ends the volume, closing is left to the block that has it.
    """
    sides = [
        (int(a == low), int(b == high))
        for a, b, low, high in zip(
            cell.box.start, cell.box.stop, cell.volume.start, cell.volume.stop, strict=True
        )
    ]
    padded = np.zeros(
        [n + sum(side) for n, side in zip(labels.box.size, sides, strict=True)], labels.array.dtype, "F"
    )
    first = vec(a - low for a, (low, _) in zip(labels.box.start, sides, strict=True))
    padded[labels.box.slices(first)] = labels.array
    return padded, first


def _in_border_planes(vertices: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Which vertices lie in the planes of the outermost voxel centres. (None does where the volume ends.)"""
    return np.asarray(((vertices == 0) | (vertices == np.array(shape) - 1)).any(axis=1))


def _encoded(points: npt.NDArray[np.float64], triangles: npt.NDArray[np.int32]) -> bytes:
    """A fragment in the legacy format: the number of vertices, their places, the triangles' corners."""
    count = np.array([len(points)], "<u4")
    return count.tobytes() + points.astype("<f4").tobytes() + triangles.astype("<u4").tobytes()


def _rows(labels: Chunk, cell: Cell, fragments: dict[int, str]) -> pa.Table:
    """A row for each object in sight, also where it has no surface: it may connect others that have."""
    ids = np.unique(labels.array)
    ids = ids[ids != 0].astype(np.uint64)
    faces = np.zeros(len(ids), np.uint8)
    for axis in range(3):
        near, far = cell.box.start[axis], cell.box.stop[axis]
        # At a face of a part of the volume too: an object cut into pieces there must become one row.
        if near > cell.volume.start[axis]:
            faces |= _met(ids, labels, axis, near, near + 1) << (2 * axis)
        if far < cell.volume.stop[axis]:
            # An object that ends at the far face may go on in a block beside the next, diagonally.
            seen = min(far + 1, labels.box.stop[axis])
            faces |= _met(ids, labels, axis, far - 1, seen) << (2 * axis + 1)
    named = [[fragments[name]] if name in fragments else [] for name in ids.tolist()]
    return pa.table({"id": ids, "faces": faces, "fragments": named}, schema=_SCHEMA)


def _met(
    ids: npt.NDArray[np.uint64], labels: Chunk, axis: int, start: int, stop: int
) -> npt.NDArray[np.uint8]:
    """For each id 1 if it occurs in these planes across `axis`, else 0."""
    planes = np.take(labels.array, range(start - labels.box.start[axis], stop - labels.box.start[axis]), axis)
    return np.isin(ids, np.unique(planes).astype(np.uint64)).astype(np.uint8)
