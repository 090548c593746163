"""Exact distances from points to a triangle mesh, by a grid of cells that lists the triangles in each.

1. Each triangle is listed in all cells that its bounds meet.
2. A point looks at the cells around its own, one shell after another, until no nearer triangle can follow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_CELLS = 4e6


def distances(points: Floats, vertices: Floats, faces: Ints) -> Floats:
    """How far each point lies from the surface."""
    corners = np.asarray(vertices, np.float64)[np.asarray(faces, np.int64)]
    low = np.minimum(corners.min(axis=(0, 1)), points.min(axis=0)) - 1
    high = np.maximum(corners.max(axis=(0, 1)), points.max(axis=0)) + 1
    typical = float(np.median(np.ptp(corners, axis=1)))
    side = max(typical, float((np.prod(high - low) / MOST_CELLS) ** (1 / 3)), 1e-6)
    shape = ((high - low) / side).astype(np.int64) + 1
    first = ((corners.min(axis=1) - low) / side).astype(np.int64)
    last = ((corners.max(axis=1) - low) / side).astype(np.int64)
    start = np.zeros(int(np.prod(shape)) + 1, np.int64)
    _list(first, last, shape, start, np.empty(0, np.int64))
    start = np.cumsum(start)
    listed = np.empty(int(start[-1]), np.int64)
    _list(first, last, shape, start[:-1].copy(), listed)
    found = np.empty(len(points))
    _search(np.asarray(points, np.float64), corners, low, side, shape, start, listed, found)
    return found


@compiled
def _list(first: Ints, last: Ints, shape: Ints, place: Ints, listed: Ints) -> None:
    """Count the triangles of each cell (in the entry after its own), or, given room, list them."""
    for t in range(len(first)):
        for x in range(first[t, 0], last[t, 0] + 1):
            for y in range(first[t, 1], last[t, 1] + 1):
                for z in range(first[t, 2], last[t, 2] + 1):
                    cell = (x * shape[1] + y) * shape[2] + z
                    if len(listed):
                        listed[place[cell]] = t
                        place[cell] += 1
                    else:
                        place[cell + 1] += 1


@compiled
def _search(
    points: Floats,
    corners: Floats,
    low: Floats,
    side: float,
    shape: Ints,
    start: Ints,
    listed: Ints,
    found: Floats,
) -> None:
    for i in range(len(points)):
        point = points[i]
        cx, cy, cz = (
            int((point[0] - low[0]) / side),
            int((point[1] - low[1]) / side),
            int((point[2] - low[2]) / side),
        )
        best = np.inf
        shell = 0
        while best > (max(shell - 1, 0) * side) ** 2 and shell <= shape.max():
            for x in range(max(cx - shell, 0), min(cx + shell, shape[0] - 1) + 1):
                for y in range(max(cy - shell, 0), min(cy + shell, shape[1] - 1) + 1):
                    inner = abs(x - cx) < shell and abs(y - cy) < shell
                    for z in range(cz - shell, cz + shell + 1, 2 * shell if inner else 1):
                        if 0 <= z < shape[2]:
                            cell = (x * shape[1] + y) * shape[2] + z
                            for j in range(start[cell], start[cell + 1]):
                                best = min(best, _square(point, corners[listed[j]]))
            shell += 1
        found[i] = np.sqrt(best)


@compiled
def _square(p: Floats, t: Floats) -> float:
    """The squared distance from a point to a triangle (Ericson, Real-Time Collision Detection, 5.1.5)."""
    ab, ac, ap = t[1] - t[0], t[2] - t[0], p - t[0]
    d1, d2 = _dot(ab, ap), _dot(ac, ap)
    if d1 <= 0 and d2 <= 0:
        return _dot(ap, ap)
    bp = p - t[1]
    d3, d4 = _dot(ab, bp), _dot(ac, bp)
    if d3 >= 0 and d4 <= d3:
        return _dot(bp, bp)
    cp = p - t[2]
    d5, d6 = _dot(ab, cp), _dot(ac, cp)
    if d6 >= 0 and d5 <= d6:
        return _dot(cp, cp)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0 and d1 != d3:
        off = ap - ab * (d1 / (d1 - d3))
    elif vb <= 0 and d2 >= 0 and d6 <= 0 and d2 != d6:
        off = ap - ac * (d2 / (d2 - d6))
    elif va <= 0 and d4 >= d3 and d5 >= d6 and d4 - d3 + d5 - d6 > 0:
        off = bp - (t[2] - t[1]) * ((d4 - d3) / (d4 - d3 + d5 - d6))
    else:
        total = va + vb + vc
        off = ap - ab * (vb / total) - ac * (vc / total)
    return _dot(off, off)


@compiled
def _dot(a: Floats, b: Floats) -> float:
    product: float = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product
