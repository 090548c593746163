"""What both formats of `mesh` share: the surfaces of one block, open where the next block goes on.

1. Blocks lie on a lattice counted from voxel 0, so that the job's chunks change no triangle. A block reads
   one voxel beyond its far faces: its surfaces end in the planes of voxel centres where the next ones begin.
2. Where the volume ends, the block is padded with nothing, which closes the surfaces there.
3. Each surface is simplified with its vertices in the block's border planes fixed, so both sides of a plane
   keep the same edges, and fragments join without cracks.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from chunkflow.chunk import Chunk
from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.kernels.surfaces.marching import surfaces
from chunkflow.kernels.surfaces.simplify import simplify
from chunkflow.task import Cell, Labels, Layout, Meshes, Out, Task

DEFAULT_ERROR = 1.1
"""In voxels: the edge of a cube as large as one."""

Surface = tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]
"""Vertices in voxels of the layer (the centre of voxel i is i + 0.5), and triangles."""


class OfBlocks(Task):
    """What both formats' steps have in common."""

    labels: Labels
    meshes: Meshes = Out()
    error: float | None
    block: tuple[int, int, int]

    working_bytes: ClassVar[float] = 20.0

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.lattice(region, vec(self.block))

    def reads(self, field: str, box: Box, layout: Layout) -> list[Box]:
        """With the planes beyond the far faces."""
        return [Box(box.start, vec(n + 1 for n in box.stop))]


def error_of(error: float | None, voxel_size: tuple[float, float, float]) -> float:
    return DEFAULT_ERROR * prod(voxel_size) ** (1 / 3) if error is None else error


def block_surfaces(labels: Chunk, cell: Cell, errors: list[float]) -> Iterator[tuple[int, list[Surface]]]:
    """Each object's surfaces, each simplified from the one before it, as far as its error (in nm) allows."""
    # In 24 bits: so the places of fixed vertices, whole and half voxels, lose nothing on the way, and the
    # blocks on both sides of a plane see the same.
    scale = np.array(cell.voxel_size, np.float32).astype(np.float64)
    array, first = _closed(labels, cell)
    for name, vertices, faces in surfaces(array):
        points, triangles = vertices * scale, faces
        made: list[Surface] = []
        for error in errors:
            border = _in_border_planes(points / scale, array.shape)
            points, triangles = simplify(points, triangles, border, error)
            made.append((points / scale + first + 0.5, triangles))
        if len(made[0][1]):
            yield name, made


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
