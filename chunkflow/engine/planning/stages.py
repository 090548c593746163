"""Stages: the grids of small works that a step consists of, and which cell of one waits for which of another.

A wait is kept by axis: for each position along an axis, the range of positions of the other grid that it
needs. So a grid of a million cells costs a few kilobytes, and both questions (what does this cell wait for,
who waits for this cell) are three look-ups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Box, Grid, Vec

StageKind = Literal["prepare", "map", "merge", "finish"]
NOBODY = slice(0, 0)
Ranges = tuple[npt.NDArray[np.int64], ...]


@dataclass(frozen=True)
class Wait:
    """For each axis and position of a stage's grid, the range of positions that it needs of `stage`."""

    stage: int
    low: Ranges
    high: Ranges
    sparing: bool = False
    """Where all that this wait covers is empty, the waiting cell has nothing to do."""

    def needed(self, position: Vec) -> tuple[slice, slice, slice]:
        x, y, z = (
            slice(int(low[p]), int(high[p]))
            for low, high, p in zip(self.low, self.high, position, strict=True)
        )
        return x, y, z

    def waiting(self, position: Vec) -> tuple[slice, slice, slice]:
        """The cells that need the cell at `position` of the other grid."""
        (x, y, z), (i, j, k) = self._waiting, position
        return (
            x[i] if i < len(x) else NOBODY,
            y[j] if j < len(y) else NOBODY,
            z[k] if k < len(z) else NOBODY,
        )

    @cached_property
    def _waiting(self) -> tuple[list[slice], ...]:
        """By axis and position of the other grid, who needs it: looked up for every cell that is done."""
        found = []
        for low, high in zip(self.low, self.high, strict=True):
            positions = np.arange(high.max(initial=0))
            starts, stops = (
                np.searchsorted(high, positions, "right"),
                np.searchsorted(low, positions, "right"),
            )
            found.append([slice(a, b) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)])
        return tuple(found)

    def counts(self) -> npt.NDArray[np.int32]:
        """How many cells each cell waits for, indexed x, y, z."""
        x, y, z = ((high - low).astype(np.int32) for low, high in zip(self.low, self.high, strict=True))
        return x[:, None, None] * y[None, :, None] * z[None, None, :]


@dataclass(frozen=True)
class Stage:
    """One kind of work of a step over a grid: `map` over its cells, one level of `merge`, ..."""

    step: int
    step_name: str
    kind: StageKind
    level: int
    grid: Grid
    waits: tuple[Wait, ...] = field(default=())
    worker_kind: int = 0
    """Which of the plan's kinds of workers does it."""

    @property
    def name(self) -> str:
        if self.kind == "map":
            return self.step_name
        return f"{self.step_name}.{self.kind}" + (str(self.level) if self.kind == "merge" else "")


def wait_for(grid: Grid, stage: int, other: Grid, need: Callable[[Box], Box], sparing: bool = False) -> Wait:
    """The cells of `other` that meet what each cell of `grid` needs; `need` must work axis by axis."""
    low: list[npt.NDArray[np.int64]] = []
    high: list[npt.NDArray[np.int64]] = []
    for axis in range(3):
        count = grid.shape[axis]
        first, last = np.zeros(count, np.int64), np.zeros(count, np.int64)
        for p in range(count):
            position = [0, 0, 0]
            position[axis] = p
            cells = _meeting(other, need(grid.box_at((position[0], position[1], position[2]))), axis)
            first[p], last[p] = cells
        low.append(first)
        high.append(last)
    return Wait(stage, tuple(low), tuple(high), sparing)


def _meeting(grid: Grid, box: Box, axis: int) -> tuple[int, int]:
    """The range of positions along one axis that `box` meets, held within the grid."""
    start = max(box.start[axis], grid.bounds.start[axis])
    stop = min(box.stop[axis], grid.bounds.stop[axis])
    origin = grid.anchor[axis] + grid.first[axis] * grid.cell[axis]
    if stop <= start:  # nothing is needed: an empty range beyond the end that the box lies beyond keeps order
        place = grid.shape[axis] if box.start[axis] >= grid.bounds.stop[axis] else 0
        return place, place
    return (start - origin) // grid.cell[axis], -(-(stop - origin) // grid.cell[axis])


def wait_for_offset(grid: Grid, stage: int, offset: Vec) -> Wait:
    """The cell at `offset` from each cell of the same grid, where there is one."""
    low, high = [], []
    for axis in range(3):
        position = np.arange(grid.shape[axis], dtype=np.int64) + offset[axis]
        inside = (position >= 0) & (position < grid.shape[axis])
        clipped = np.clip(position, 0, grid.shape[axis])
        low.append(clipped)
        high.append(clipped + inside)
    return Wait(stage, tuple(low), tuple(high))


def wait_for_all(grid: Grid, stage: int, other: Grid) -> Wait:
    """Every cell of `other`."""
    low = tuple(np.zeros(n, np.int64) for n in grid.shape)
    high = tuple(np.full(n, m, np.int64) for n, m in zip(grid.shape, other.shape, strict=True))
    return Wait(stage, low, high)
