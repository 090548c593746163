"""Slabs in which a stack is read, where its own blocks are larger than a job's chunks."""

from __future__ import annotations

from math import prod

from chunkflow.geometry import Vec, vec

SLAB_CHUNKS = 8
"""A slab may hold the voxels of so many chunks."""
SLAB_BYTES = 64 << 20
"""Or so many bytes, where that is more."""


def cell_size(block: Vec, chunk: Vec, storage: Vec, size: Vec, voxel_bytes: int) -> Vec:
    """The size of cells: chunks, or slabs where the source must be decoded in larger blocks.

    A slab is whole blocks, or as much of them, along x first, as it may hold.
    """
    wide = vec(-(-min(b, n) // s) * s for b, n, s in zip(block, size, storage, strict=True))
    if all(w <= c for w, c in zip(wide, chunk, strict=True)):
        return chunk
    most = max(SLAB_CHUNKS * prod(chunk), SLAB_BYTES // voxel_bytes)
    cell = list(storage)
    for axis in range(3):
        layers = most // (prod(cell) // cell[axis] * storage[axis])
        cell[axis] = min(max(wide[axis], storage[axis]), max(layers, 1) * storage[axis])
    return vec(cell)
