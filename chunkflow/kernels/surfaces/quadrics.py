"""Quadrics: how far a place lies from the planes around a vertex, a sum that adds up when vertices merge.

A quadric is the upper triangle of a symmetric 4 by 4 matrix: xx xy xz yy yz zz, then x y z with the constant,
then the constant's square.
"""

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

PULL = 1e-3
"""The share of a quadric that pulls to the vertex: the more, the rounder the triangles, and the more."""


@compiled
def fill_quadrics(points: Floats, faces: Ints, quadrics: Floats) -> None:
    """Add to each vertex the quadrics of its triangles, weighted by their area."""
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        ux, uy, uz = points[b, 0] - ax, points[b, 1] - ay, points[b, 2] - az
        vx, vy, vz = points[c, 0] - ax, points[c, 1] - ay, points[c, 2] - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length == 0.0:
            continue
        nx, ny, nz = nx / length, ny / length, nz / length
        d = -(nx * ax + ny * ay + nz * az)
        weight = length / 6.0  # a third of the area to each corner
        pull = PULL * weight
        for k in range(3):
            v = faces[f, k]
            x, y, z = points[v, 0], points[v, 1], points[v, 2]
            quadrics[v, 0] += weight * nx * nx + pull
            quadrics[v, 1] += weight * nx * ny
            quadrics[v, 2] += weight * nx * nz
            quadrics[v, 3] += weight * ny * ny + pull
            quadrics[v, 4] += weight * ny * nz
            quadrics[v, 5] += weight * nz * nz + pull
            quadrics[v, 6] += weight * nx * d - pull * x
            quadrics[v, 7] += weight * ny * d - pull * y
            quadrics[v, 8] += weight * nz * d - pull * z
            quadrics[v, 9] += weight * d * d + pull * (x * x + y * y + z * z)


@compiled
def merge_cost(quadrics: Floats, v: int, u: int, in_place: bool, sums: Floats, place: Floats) -> float:
    """What merging `v` and `u` costs at `place`, which is first set to the best one unless `in_place`."""
    for i in range(10):
        sums[i] = quadrics[v, i] + quadrics[u, i]
    x, y, z = place[0], place[1], place[2]
    if not in_place and sums[0] > 0.0:
        # The least of the quadric: its 3 by 3 part, which PULL keeps positive definite, as L D L^T.
        l1, l2 = sums[1] / sums[0], sums[2] / sums[0]
        d1, t = sums[3] - l1 * sums[1], sums[4] - l1 * sums[2]
        l3 = t / d1
        y0 = -sums[6]
        y1 = -sums[7] - l1 * y0
        z = (-sums[8] - l2 * y0 - l3 * y1) / (sums[5] - l2 * sums[2] - l3 * t)
        y = y1 / d1 - l3 * z
        x = y0 / sums[0] - l1 * y - l2 * z
        place[0], place[1], place[2] = x, y, z
    return value(sums, x, y, z)


@compiled
def move_cost(quadrics: Floats, v: int, place: Floats) -> float:
    """What moving `v` to `place` costs."""
    return value(quadrics[v], place[0], place[1], place[2])


@compiled
def value(q: Floats, x: float, y: float, z: float) -> float:
    """The quadric at a place; never below 0, which rounding might give."""
    square = q[0] * x * x + q[3] * y * y + q[5] * z * z
    mixed = q[1] * x * y + q[2] * x * z + q[4] * y * z + q[6] * x + q[7] * y + q[8] * z
    result: float = max(square + 2.0 * mixed + q[9], 0.0)
    return result
