"""Which cells of a grid each annotation meets: a point, a line, a box or an ellipsoid.

A cell holds its lower faces but not its upper ones, an annotation its whole border. So a point lies in one
cell, and a box that ends on the face between two cells lies in both.

1. The cells that the box around an annotation meets, held within the grid.
2. Of these, where it is a line or an ellipsoid, those that come near it: within a rounding error of it.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

AnnotationKind = Literal["point", "line", "box", "ellipsoid"]
KINDS: tuple[AnnotationKind, ...] = ("point", "line", "box", "ellipsoid")
Places = NDArray[np.float64]
Cells = NDArray[np.int64]
NEAR = 1e-9


def numbers_of(kind: AnnotationKind) -> int:
    """How many numbers tell the place of one: a point, two points, or a centre and radii."""
    return 3 if kind == "point" else 6


def extents(kind: AnnotationKind, places: NDArray[Any]) -> tuple[Places, Places]:
    """The lower and the upper corner of the box around each annotation."""
    first = places[:, :3].astype(np.float64)
    if kind == "point":
        return first, first
    second = places[:, 3:].astype(np.float64)
    if kind == "ellipsoid":
        return first - second, first + second
    return np.minimum(first, second), np.maximum(first, second)


def around(low: Places, high: Places, cell: Sequence[int], shape: Sequence[int]) -> tuple[Cells, Cells]:
    """The first and the last cell of a grid, counted from 0, that each box from `low` to `high` meets."""
    most = np.array(shape) - 1
    first, last = (np.floor(corner / np.array(cell)) for corner in (low, high))
    return np.clip(first, 0, most).astype(np.int64), np.clip(last, 0, most).astype(np.int64)


def crossings(
    kind: AnnotationKind, places: Places, cell: Sequence[int], shape: Sequence[int]
) -> tuple[NDArray[np.intp], Cells]:
    """Each annotation, by its number, with each cell that it meets."""
    first, last = around(*extents(kind, places), cell, shape)
    if kind == "point":
        return np.arange(len(places)), first
    counts = np.prod(last - first + 1, axis=1)
    rows, cells, kept = _cells_met(
        KINDS.index(kind), np.ascontiguousarray(places), first, last, np.array(cell, np.float64), counts.sum()
    )
    return rows[:kept], cells[:kept]


@compiled
def _cells_met(kind: Any, places: Any, first: Any, last: Any, cell: Any, most: Any) -> Any:
    rows = np.empty(most, np.int64)
    cells = np.empty((most, 3), np.int64)
    found = 0
    for n in range(len(places)):
        for i in range(first[n, 0], last[n, 0] + 1):
            for j in range(first[n, 1], last[n, 1] + 1):
                for k in range(first[n, 2], last[n, 2] + 1):
                    place = (i, j, k)
                    if kind == 1 and not _on_line(places[n], place, cell):
                        continue
                    if kind == 3 and not _in_ellipsoid(places[n], place, cell):
                        continue
                    rows[found] = n
                    for axis in range(3):
                        cells[found, axis] = place[axis]
                    found += 1
    return rows, cells, found


@compiled
def _on_line(line: Any, place: Any, cell: Any) -> Any:
    """Whether some share of the way from one end to the other lies between the faces on all axes."""
    begin, end = 0.0, 1.0
    for axis in range(3):
        way = line[3 + axis] - line[axis]
        if way == 0.0:
            continue  # the box around it has this very place
        near = (place[axis] * cell[axis] - line[axis]) / way
        far = ((place[axis] + 1) * cell[axis] - line[axis]) / way
        begin = max(begin, min(near, far))
        end = min(end, max(near, far))
    return begin <= end + NEAR


@compiled
def _in_ellipsoid(ball: Any, place: Any, cell: Any) -> Any:
    """Whether the cell's nearest point lies within one radius, in units of the radii."""
    total = 0.0
    for axis in range(3):
        low = place[axis] * cell[axis] - ball[axis]
        gap = max(low, -(low + cell[axis]), 0.0)
        if gap > 0.0:
            total += (gap / ball[3 + axis]) ** 2
    return total <= 1.0 + NEAR
