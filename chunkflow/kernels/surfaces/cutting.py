"""A surface cut by the planes of a lattice, and its pieces' vertices as whole numbers within their cells.

1. Triangles are cut along x, then y, then z, at each plane of whole coordinates that they cross, from the
   lowest up. Where an edge meets a plane is computed from its two ends in the order of their coordinates, so
   all triangles at the edge get the same vertex, whatever else they cross and whichever block they are of.
2. Each piece lies in one cell. Its vertices are rounded to a grid that begins in the cell's low planes and
   ends in its high ones, so they are the same on both sides of a plane. Its middle plane is one of the grid.
3. Vertices that come to the same place are one; triangles that lose their width by that are dropped.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Fragment = tuple[tuple[int, int, int], NDArray[np.int64], NDArray[np.uint32]]


def cut(points: Floats, faces: NDArray[np.integer[Any]]) -> Floats:
    """The corners (triangle, corner, axis) of a surface's triangles, cut where they cross a whole number."""
    corners = np.ascontiguousarray(points[faces], np.float64)
    for axis in range(3):
        corners = _cut_axis(corners, axis)
    return corners


def fragments(corners: Floats, first: Ints, stop: Ints, bits: int) -> Iterator[Fragment]:
    """The pieces in each cell of unit size, from cell `first` up to `stop`: the cell, vertices as numbers
    from 0 to 2**bits - 1, and triangles.

    No triangle may cross a plane between cells. What lies beyond the cells is moved into them.
    """
    cells, keys = _rounded(corners, first, stop, bits)
    order = np.argsort(cells, kind="stable")
    begins = np.flatnonzero(np.diff(cells[order], prepend=-1))
    shape = stop - first
    for begin, end in pairwise([*begins.tolist(), len(order)]):
        chosen = order[begin:end]
        a, b, c = keys[chosen].T
        found, faces = np.unique(keys[chosen[(a != b) & (b != c) & (c != a)]], return_inverse=True)
        if len(found):
            number = int(cells[chosen[0]])
            x, y, z = number % shape[0], number // shape[0] % shape[1], number // (shape[0] * shape[1])
            place = (int(first[0] + x), int(first[1] + y), int(first[2] + z))
            yield place, _places(found, bits), faces.reshape(-1, 3).astype(np.uint32)


def _places(keys: Ints, bits: int) -> Ints:
    low = (1 << bits) - 1
    return np.stack([keys & low, keys >> bits & low, keys >> 2 * bits], axis=1)


@compiled
def _rounded(corners: Floats, first: Ints, stop: Ints, bits: int) -> tuple[Ints, Ints]:
    """For each triangle the number of its cell, and its corners as one number each."""
    count = len(corners)
    cells, keys = np.empty(count, np.int64), np.empty((count, 3), np.int64)
    steps = float((1 << bits) - 1)
    for t in range(count):
        cells[t] = 0
        keys[t] = 0
        for axis in range(2, -1, -1):
            low = min(corners[t, 0, axis], corners[t, 1, axis], corners[t, 2, axis])
            cell = min(max(np.int64(np.floor(low)), first[axis]), stop[axis] - 1)
            cells[t] = cells[t] * (stop[axis] - first[axis]) + cell - first[axis]
            for k in range(3):
                inside = min(max(corners[t, k, axis] - cell, 0.0), 1.0)
                # Halves go up: readers take 2**(bits - 1) for the middle plane, half a step above it.
                keys[t, k] = (keys[t, k] << bits) + np.int64(np.floor(inside * steps + 0.5))
    return cells, keys


@compiled
def _cut_axis(corners: Floats, axis: int) -> Floats:
    out = np.empty((len(corners) + len(corners) // 2 + 16, 3, 3))
    rest, below, above = np.empty((8, 3)), np.empty((8, 3)), np.empty((8, 3))
    count = 0
    for t in range(len(corners)):
        size = 3
        for i in range(size):
            _put(rest, i, corners[t], i)
        plane = np.floor(min(rest[0, axis], rest[1, axis], rest[2, axis])) + 1
        high = max(rest[0, axis], rest[1, axis], rest[2, axis])
        while plane < high:
            under, over = _split(rest, size, axis, plane, below, above)
            out, count = _add_fan(out, count, below, under)
            rest, above, size = above, rest, over
            plane += 1
        out, count = _add_fan(out, count, rest, size)
    return out[:count].copy()


@compiled
def _add_fan(out: Floats, count: int, polygon: Floats, size: int) -> tuple[Floats, int]:
    """Add a polygon's triangles; there may be more than `out` has room for."""
    if count + size > len(out):
        larger = np.empty((2 * len(out), 3, 3))
        for t in range(count):
            for k in range(3):
                _put(larger[t], k, out[t], k)
        out = larger
    for i in range(1, size - 1):
        _put(out[count], 0, polygon, 0)
        _put(out[count], 1, polygon, i)
        _put(out[count], 2, polygon, i + 1)
        count += 1
    return out, count


@compiled
def _put(points: Floats, i: int, others: Floats, j: int) -> None:
    """Set a point to another. (Numba takes four times as long to compile it as an assignment of rows.)"""
    for axis in range(3):
        points[i, axis] = others[j, axis]


@compiled
def _split(
    polygon: Floats, size: int, axis: int, plane: float, below: Floats, above: Floats
) -> tuple[int, int]:
    """Both sides of a polygon that crosses a plane, and how many corners they have."""
    under = over = 0
    for i in range(size):
        a, b = polygon[i], polygon[(i + 1) % size]
        if a[axis] <= plane:
            _put(below, under, polygon, i)
            under += 1
        if a[axis] >= plane:
            _put(above, over, polygon, i)
            over += 1
        if (a[axis] < plane < b[axis]) or (b[axis] < plane < a[axis]):
            if a[axis] > b[axis]:  # seen from either side the edge runs the same way
                a, b = b, a
            share = (plane - a[axis]) / (b[axis] - a[axis])
            for k in range(3):
                below[under, k] = plane if k == axis else a[k] + share * (b[k] - a[k])
            _put(above, over, below, under)
            under += 1
            over += 1
    return under, over
