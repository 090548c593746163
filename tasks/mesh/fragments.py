"""Meshes in one level of detail, each fragment a file: Neuroglancer's legacy format.

Each object's fragment of each block is a file. The rows say which objects have fragments in which blocks, up
the tree, and become one manifest an object.
"""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.chunk import Chunk
from chunkflow.task import Cell, Files, Layout, MergedRows
from tasks.mesh.blocks import OfBlocks, block_surfaces, error_of

_SCHEMA = pa.schema([("id", pa.uint64()), ("faces", pa.uint8()), ("fragments", pa.list_(pa.string()))])


class Fragments(OfBlocks):
    """A file for each fragment, and one for each object."""

    shape = MergedRows()

    def map(self, cell: Cell, labels: Chunk) -> tuple[Files, pa.Table]:
        block = str(cell.box)
        files: Files = {}
        fragments: dict[int, str] = {}
        for name, made in block_surfaces(labels, cell, [error_of(self.error, cell.voxel_size)]):
            points, triangles = made[0]
            fragments[name] = f"{name}:0:{block}"
            files[fragments[name]] = _encoded(points * cell.voxel_size, triangles)
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
