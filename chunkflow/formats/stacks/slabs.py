"""The size of the slabs in which a stack is read."""

from __future__ import annotations

from math import prod

from chunkflow.geometry import Vec, vec

SLAB_CHUNKS = 8
SLAB_BYTES = 64 << 20


def cell_size(block: Vec, chunk: Vec, storage: Vec, size: Vec, most: int) -> Vec:
    """The size of cells: chunks, unless the source must be decoded in larger blocks; then whole blocks, or as
    much of them, along x first, as `most` voxels allow."""
    wide = vec(-(-min(b, n) // s) * s for b, n, s in zip(block, size, storage, strict=True))
    if all(w <= c for w, c in zip(wide, chunk, strict=True)):
        return chunk
    cell = list(storage)
    for axis in range(3):
        layers = most // (prod(cell) // cell[axis] * storage[axis])
        cell[axis] = min(max(wide[axis], storage[axis]), max(layers, 1) * storage[axis])
    return vec(cell)
