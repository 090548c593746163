"""Fans: the triangles around one vertex, and whether another vertex may be merged into it.

A fan is three rows: the triangles, and for each of them its next and its last corner, as they turn.
"""

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

TURN = 0.2
"""The least cosine between a triangle's normals before and after."""
NEEDLE = 1e-3
"""The least squared double area of a triangle, over the fourth power of its longest side."""
RING = 96
"""More triangles around one vertex than this, and it is left alone."""


@compiled
def gather(faces: Ints, start: Ints, ring: Ints, following: Ints, v: int, fan: Ints) -> int:
    """Fill `fan` with the triangles around `v` and their other corners, in order; how many, 0 if too many."""
    size = 0
    owner = v
    while owner >= 0:
        for j in range(start[owner], start[owner + 1]):
            f = ring[j]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            if a < 0:
                continue
            if size == RING:
                return 0
            fan[0, size] = f
            if a == v:
                fan[1, size], fan[2, size] = b, c
            elif b == v:
                fan[1, size], fan[2, size] = c, a
            else:
                fan[1, size], fan[2, size] = a, b
            size += 1
        owner = following[owner]
    return size


@compiled
def is_closed(mark: Ints, v: int, fan: Ints, size: int) -> bool:
    """Whether each neighbour is in two triangles of the fan; marks the neighbours with `v`."""
    closed = size >= 3
    for i in range(size):
        if mark[fan[1, i]] == v:
            closed = False
        mark[fan[1, i]] = v
    for i in range(size):
        if mark[fan[2, i]] != v:
            closed = False
    return closed


@compiled
def keeps_topology(mark: Ints, v: int, fan: Ints, size: int, around: int) -> bool:
    """Whether the vertex of this fan shares with `v`, whose `around` neighbours are marked, the two across
    their edge and no others."""
    common, shared = 0, 0
    for i in range(size):
        if mark[fan[1, i]] == v:
            common += 1
        if fan[1, i] == v or fan[2, i] == v:
            shared += 1
    tetrahedron = size == 3 and around == 3
    return common == 2 and shared == 2 and not tetrahedron


@compiled
def turns(points: Floats, v: int, other: int, place: Floats, fan: Ints, size: int) -> bool:
    """Whether a triangle around `v`, without those that hold `other`, turns over or becomes a needle if `v`
    moves to `place`."""
    vx, vy, vz = points[v, 0], points[v, 1], points[v, 2]
    x, y, z = place[0], place[1], place[2]
    for i in range(size):
        a, b = fan[1, i], fan[2, i]
        if a == other or b == other:
            continue
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        ex, ey, ez = points[b, 0] - ax, points[b, 1] - ay, points[b, 2] - az
        fx, fy, fz = vx - ax, vy - ay, vz - az
        gx, gy, gz = x - ax, y - ay, z - az
        nx, ny, nz = ey * fz - ez * fy, ez * fx - ex * fz, ex * fy - ey * fx
        mx, my, mz = ey * gz - ez * gy, ez * gx - ex * gz, ex * gy - ey * gx
        cosine = nx * mx + ny * my + nz * mz
        before, after = nx * nx + ny * ny + nz * nz, mx * mx + my * my + mz * mz
        if cosine <= 0.0 or cosine * cosine < TURN * TURN * before * after:
            return True
        hx, hy, hz = gx - ex, gy - ey, gz - ez
        longest = max(ex * ex + ey * ey + ez * ez, gx * gx + gy * gy + gz * gz, hx * hx + hy * hy + hz * hz)
        if after < NEEDLE * longest * longest:
            return True
    return False


@compiled
def redirect(faces: Ints, v: int, u: int, fan: Ints, size: int) -> None:
    """Give the triangles around `v` to `u`, less those of the edge between them."""
    for i in range(size):
        f = fan[0, i]
        if fan[1, i] == u or fan[2, i] == u:
            faces[f, 0] = -1
        else:
            for k in range(3):
                if faces[f, k] == v:
                    faces[f, k] = u
