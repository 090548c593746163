"""Mesh simplification: edges are collapsed where that moves the closed surface least.

1. Each vertex gets a quadric: the squared distances to the planes of its triangles, weighted by their area
   (Garland and Heckbert). A small part of it pulls to the vertex itself, so that a plane, too, has one best
   point.
2. Sweep over the vertices in their order, several times, with a bound that grows to the final one. A vertex
   that may move is merged with the neighbour for which that costs least, if it costs no more than the sweep's
   bound. This comes close to a queue's order at a fraction of its time. Most of a surface that was made from
   voxels goes in the first sweep: there the neighbour stays in place, which spares half the work and, as the
   quadrics remember the surface, is made up for by the later sweeps, which take the best place.
3. A collapse is refused where it would change the topology (the two vertices must share exactly two
   neighbours, the two across their edge), turn a triangle over, or leave a needle.
4. A vertex whose cost was above a sweep's bound is looked at again only when its bound comes, or its
   neighbourhood has changed.

Vertices that are fixed, and those where the surface ends, stay where they are.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled
from chunkflow.kernels.surfaces.fans import RING, gather, is_closed, keeps_topology, redirect, turns
from chunkflow.kernels.surfaces.quadrics import fill_quadrics, merge_cost, move_cost

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

SWEEPS = (1 / 64, 1 / 10, 1 / 4, 1 / 2, 1.0)
"""The bounds of the sweeps, as shares of the final one."""
CHANGED = -1.0
FREE, FIXED, GONE = 0, 1, 2


class WorkingMesh(NamedTuple):
    """Mesh being simplified, and the triangles around each of its vertices.

    A vertex's triangles are `ring[start[v]:start[v + 1]]`, and those of the vertices merged into it, which
    `following` chains; a triangle that is gone has a negative first corner.
    """

    points: Floats
    quadrics: Floats
    faces: Ints
    state: NDArray[np.uint8]
    cost: Floats
    start: Ints
    ring: Ints
    following: Ints
    mark: Ints


def simplify(
    vertices: Floats, faces: NDArray[np.integer], fixed: NDArray[np.bool_], error: float
) -> tuple[Floats, Ints]:
    """Vertices and triangles of the simpler surface.

    A collapse may cost up to `error`⁴: squared distance times area, so a patch as wide as `error` may lie as
    far off. Vertices marked in `fixed` keep their place.
    """
    points, triangles = _simplify(
        np.array(vertices, np.float64, order="C"),
        np.array(faces, np.int32, order="C"),
        np.array(fixed, np.uint8),
        np.array(SWEEPS) * error**4,
    )
    return points, triangles


@compiled
def _simplify(points: Floats, faces: Ints, state: NDArray[np.uint8], bounds: Floats) -> tuple[Floats, Ints]:
    origin = points[0].copy() if len(points) else np.zeros(3)
    points -= origin  # the quadrics lose digits far from zero
    n, m = len(points), len(faces)
    quadrics = np.zeros((n, 10))
    fill_quadrics(points, faces, quadrics)
    _fix_ends(faces, state)
    surface = WorkingMesh(
        points,
        quadrics,
        faces,
        state,
        np.full(n, CHANGED),
        np.empty(n + 1, np.int32),
        np.empty(3 * m, np.int32),
        np.empty(n, np.int32),
        np.empty(n, np.int32),
    )
    gone = n
    for i in range(len(bounds)):
        if gone * 5 >= n:
            n, m = _compact(surface, n, m)
            _index(surface, n, m)
            gone = 0
        gone += _sweep(surface, n, bounds[i], i == 0)
    n, m = _compact(surface, n, m)
    return surface.points[:n] + origin, surface.faces[:m].copy()


@compiled
def _fix_ends(faces: Ints, state: NDArray[np.uint8]) -> None:
    """Fix the vertices where the surface ends. Around the others each neighbour is once the next corner and
    once the one before, so the sums of both agree."""
    balance = np.zeros(len(state), np.int64)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        balance[a] += b - c
        balance[b] += c - a
        balance[c] += a - b
    for v in range(len(state)):
        if balance[v] != 0:
            state[v] = FIXED


@compiled
def _compact(surface: WorkingMesh, n: int, m: int) -> tuple[int, int]:
    """Close the gaps that vertices and triangles left, their order kept; how many there are now."""
    faces, index = surface.faces, surface.mark
    index[:n] = -1
    for f in range(m):
        if faces[f, 0] >= 0:
            for k in range(3):
                index[faces[f, k]] = 0
    vertices = 0
    for v in range(n):
        if index[v] == 0:
            index[v] = vertices
            for i in range(3):
                surface.points[vertices, i] = surface.points[v, i]
            for i in range(10):
                surface.quadrics[vertices, i] = surface.quadrics[v, i]
            surface.state[vertices] = surface.state[v]
            surface.cost[vertices] = surface.cost[v]
            vertices += 1
    triangles = 0
    for f in range(m):
        if faces[f, 0] >= 0:
            for k in range(3):
                faces[triangles, k] = index[faces[f, k]]
            triangles += 1
    return vertices, triangles


@compiled
def _index(surface: WorkingMesh, n: int, m: int) -> None:
    """List each vertex's triangles."""
    start, ring, faces = surface.start, surface.ring, surface.faces
    start[: n + 1] = 0
    for f in range(m):
        for k in range(3):
            start[faces[f, k] + 1] += 1
    for v in range(n):
        start[v + 1] += start[v]
        surface.following[v] = -1
        surface.mark[v] = -1
    for f in range(m - 1, -1, -1):  # filled from the end, each start[v + 1] comes down to v's first place
        for k in range(3):
            v = faces[f, k]
            start[v + 1] -= 1
            ring[start[v + 1]] = f
    for v in range(n):
        start[v] = start[v + 1]
    start[n] = 3 * m


@compiled
def _sweep(surface: WorkingMesh, n: int, bound: float, in_place: bool) -> int:
    """Collapse what costs no more than `bound`; how many vertices are gone."""
    # The functions below take arrays rather than the tuple: counting its references took twice as long as all
    # the arithmetic.
    points, quadrics, faces, state, cost, start, ring, following, mark = surface
    around, beyond = np.empty((3, RING), np.int32), np.empty((3, RING), np.int32)
    costs, places, sums = np.empty(RING), np.empty((RING, 3)), np.empty(10)
    paid = np.zeros(n if in_place else 0)
    gone = 0
    for v in range(n):
        if state[v] != FREE or cost[v] > bound:
            continue
        size = gather(faces, start, ring, following, v, around)
        if not is_closed(mark, v, around, size):
            cost[v] = np.inf
            continue
        for i in range(size):
            u = around[1, i]
            places[i, 0], places[i, 1], places[i, 2] = points[u, 0], points[u, 1], points[u, 2]
            if in_place:
                # What was merged into `u`, where it is, was paid for: it need not be summed again.
                costs[i] = paid[u] + move_cost(quadrics, v, places[i])
            else:
                costs[i] = merge_cost(quadrics, v, u, state[u] != FREE, sums, places[i])
        while True:
            best = np.argmin(costs[:size])
            if costs[best] > bound:
                cost[v] = costs[best]
                break
            u, place = around[1, best], places[best]
            others = gather(faces, start, ring, following, u, beyond)
            if (
                keeps_topology(mark, v, beyond, others, size)
                and not turns(points, v, u, place, around, size)
                and not (state[u] == FREE and not in_place and turns(points, u, v, place, beyond, others))
            ):
                redirect(faces, v, u, around, size)
                _merge(points, quadrics, following, v, u, place)
                if in_place:
                    paid[u] = costs[best]
                state[v] = GONE
                cost[u] = CHANGED
                _touch(cost, around, size)
                _touch(cost, beyond, others)
                gone += 1
                break
            costs[best] = np.inf
    return gone


@compiled
def _touch(cost: Floats, faces_around: Ints, size: int) -> None:
    """What the neighbours cost must be found anew."""
    for i in range(size):
        cost[faces_around[1, i]] = CHANGED


@compiled
def _merge(points: Floats, quadrics: Floats, following: Ints, v: int, u: int, place: Floats) -> None:
    """Move `u` to `place`, and let it remember the surface around `v`."""
    for i in range(3):
        points[u, i] = place[i]
    for i in range(10):
        quadrics[u, i] += quadrics[v, i]
    last = u
    while following[last] >= 0:
        last = following[last]
    following[last] = v
