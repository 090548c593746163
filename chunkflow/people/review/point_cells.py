"""The points of a table in the cells of an annotation layer's spatial index, at several levels.

The level and the cell of a point follow from the table alone, so that all processes that serve it agree. Each
level holds a fair sample of what the coarser ones leave: a viewer that is zoomed out loads few cells, and
shows points as they are spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Vec
from chunkflow.kernels.precomputed.annotations import (
    ALL,
    Levels,
    draw_of,
    levels_by_hash,
    levels_of,
    shares,
)
from chunkflow.kernels.precomputed.morton import morton_encode
from chunkflow.people.review.objects import TableObjects

LIMIT = 2000
"""Points in a cell, about."""
Numbers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint64]
CellKey = tuple[int, int]
"""A level, and the code of one of its cells."""


@dataclass(frozen=True)
class PointCells:
    """All points of a table by level and cell, in the order of their draw."""

    levels: Levels
    start: Vec
    """The first voxel of the volume."""
    taken: tuple[int, ...]
    """The share of all points that each level and those before it take."""
    codes: tuple[Codes, ...]
    """Of each level the codes of the cells of its points, rising."""
    numbers: tuple[Numbers, ...]
    """The points beside these codes, by their position in the table."""

    @classmethod
    def of(cls, objects: TableObjects, limit: int = LIMIT) -> PointCells:
        """Sort the points of a table into cells of about `limit` points."""
        volume = objects.info.volume
        levels = levels_of(volume.size, objects.info.voxel_size)
        voxels = _voxels(objects.places, volume.start, volume.size)
        taken = tuple(_taken(levels, voxels, limit))
        draws, level_of = draw_of(objects.ids), levels_by_hash(objects.ids, taken)
        codes, numbers = [], []
        for level in range(len(taken)):
            here = np.flatnonzero(level_of == level)
            found = morton_encode(levels.places(voxels[here], level), levels.shape(level))
            order = np.lexsort((draws[here], found))
            codes.append(found[order])
            numbers.append(here[order])
        return cls(levels, volume.start, taken, tuple(codes), tuple(numbers))

    def __len__(self) -> int:
        """How many levels there are."""
        return len(self.taken)

    def limit(self, level: int) -> int:
        """The number of points in the fullest cell of a level, at least 1.

        A viewer takes it for that of every cell when it decides how many points of a cell it draws.
        """
        codes = self.codes[level]
        return int(np.unique(codes, return_counts=True)[1].max()) if len(codes) else 1

    def code(self, level: int, cell: Sequence[int]) -> int | None:
        """The code of a cell by its place in the grid of a level; None where there is no such cell."""
        if not 0 <= level < len(self) or any(
            not 0 <= n < most for n, most in zip(cell, self.levels.shape(level), strict=True)
        ):
            return None
        return int(morton_encode(np.array([cell]), self.levels.shape(level))[0])

    def key_of(self, id: int, place: Sequence[float]) -> CellKey:
        """The level and cell of a point at any place."""
        ids = np.array([id], np.uint64)
        level = int(levels_by_hash(ids, self.taken)[0])
        voxel = _voxels(np.array([place]), self.start, self.levels.size)
        return level, int(morton_encode(self.levels.places(voxel, level), self.levels.shape(level))[0])

    def of_cell(self, key: CellKey) -> Numbers:
        """The points of the table in a cell."""
        level, code = key
        first, last = (
            np.searchsorted(self.codes[level], np.uint64(code), side) for side in ("left", "right")
        )
        return self.numbers[level][first:last]


def _voxels(places: npt.NDArray[np.float64], start: Vec, size: Vec) -> Numbers:
    """The voxels of places, from the volume's first; what lies outside is at its border."""
    inside = np.clip(np.nan_to_num(places) - np.array(start), 0, np.array(size) - 1)
    return np.asarray(np.floor(inside).astype(np.int64))


def _taken(levels: Levels, voxels: Numbers, limit: int) -> list[int]:
    fullest: list[int] = []
    for level in range(len(levels.cells)):
        codes = morton_encode(levels.places(voxels, level), levels.shape(level))
        counts = np.unique(codes, return_counts=True)[1]
        fullest.append(int(counts.max()) if len(counts) else 0)
        taken = shares(fullest, limit)
        if sum(limit * ALL // max(count, 1) for count in fullest) >= ALL:
            break
    return taken
