"""Boxes of voxels, and grids that cut them into equal cuboids."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor, isclose, prod

VoxelSize = tuple[float, float, float]

Vec = tuple[int, int, int]
_RANGE = re.compile(r"(-?\d+)-(-?\d+)")


def vec(values: object) -> Vec:
    """Three plain ints from any sequence of three numbers."""
    x, y, z = (int(value) for value in values)  # type: ignore[attr-defined]
    return x, y, z


@dataclass(frozen=True, slots=True)
class Box:
    """Integer bounds in voxels, x y z: from `start` up to, not including, `stop`."""

    start: Vec
    stop: Vec

    @classmethod
    def of_size(cls, size: Vec, start: Vec = (0, 0, 0)) -> Box:
        return cls(start, vec(a + n for a, n in zip(start, size, strict=True)))

    @property
    def size(self) -> Vec:
        return vec(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def voxels(self) -> int:
        return prod(max(n, 0) for n in self.size)

    @property
    def empty(self) -> bool:
        return any(b <= a for a, b in zip(self.start, self.stop, strict=True))

    def grow(self, margin: Vec) -> Box:
        """This box with `margin` voxels more on both sides of each axis."""
        return Box(
            vec(a - m for a, m in zip(self.start, margin, strict=True)),
            vec(b + m for b, m in zip(self.stop, margin, strict=True)),
        )

    def clip(self, other: Box) -> Box:
        """What this box shares with `other` (of size 0 somewhere if nothing)."""
        start = vec(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = vec(min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Box(start, vec(max(a, b) for a, b in zip(start, stop, strict=True)))

    def shift(self, by: Vec) -> Box:
        return Box(
            vec(a + s for a, s in zip(self.start, by, strict=True)),
            vec(b + s for b, s in zip(self.stop, by, strict=True)),
        )

    def meets(self, other: Box) -> bool:
        return not self.clip(other).empty

    def contains(self, other: Box) -> bool:
        return self.clip(other) == other

    def coarsen(self, factor: Vec) -> Box:
        """The same space in voxels `factor` times as large: from floor to ceil."""
        return Box(
            vec(a // f for a, f in zip(self.start, factor, strict=True)),
            vec(-(-b // f) for b, f in zip(self.stop, factor, strict=True)),
        )

    def refine(self, factor: Vec) -> Box:
        """The same space in voxels `factor` times as small."""
        return Box(
            vec(a * f for a, f in zip(self.start, factor, strict=True)),
            vec(b * f for b, f in zip(self.stop, factor, strict=True)),
        )

    def slices(self, origin: Vec) -> tuple[slice, slice, slice]:
        """Where this box lies in an array whose first voxel is `origin`."""
        x, y, z = (slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, origin, strict=True))
        return x, y, z

    def __str__(self) -> str:
        return "_".join(f"{a}-{b}" for a, b in zip(self.start, self.stop, strict=True))

    @classmethod
    def parse(cls, text: str) -> Box:
        """The inverse of str(): 0-256_0-256_0-64; commas serve as well as underscores."""
        ranges = [_RANGE.fullmatch(part.strip()) for part in text.replace(",", "_").split("_")]
        if len(ranges) != 3 or None in ranges:
            raise ValueError(f"{text!r} is no box; write x-x,y-y,z-z, as in 0-256,0-256,0-64")
        return cls(vec(r[1] for r in ranges if r), vec(r[2] for r in ranges if r))


def scaled(box: Box, size: Sequence[float], other: Sequence[float]) -> Box:
    """The voxels of the size `other` that meet a box of voxels of `size`, both counted from the same place.

    Sizes whose ratio is a whole number but for what is lost in writing them down are taken as such.
    """
    start, stop = [], []
    for a, b, s, o in zip(box.start, box.stop, size, other, strict=True):
        larger, smaller = max(round(o / s), 1), max(round(s / o), 1)
        ratio = s / o
        if isclose(ratio, smaller / larger, rel_tol=1e-4):
            ratio = smaller / larger
        start.append(floor(a * ratio + 1e-6))
        stop.append(ceil(b * ratio - 1e-6))
    return Box(vec(start), vec(stop))


def held_within(box: Box, bounds: Box) -> Box:
    """What of a box lies within bounds; where nothing does, the nearest voxel."""
    start = vec(min(max(a, f), e - 1) for a, f, e in zip(box.start, bounds.start, bounds.stop, strict=True))
    stop = vec(max(min(b, e), a + 1) for b, a, e in zip(box.stop, start, bounds.stop, strict=True))
    return Box(start, stop)


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all; one that is empty counts for nothing, unless all are."""
    filled = [box for box in boxes if not box.empty] or boxes[:1]
    return Box(
        vec(min(box.start[axis] for box in filled) for axis in range(3)),
        vec(max(box.stop[axis] for box in filled) for axis in range(3)),
    )


def ratios(sizes: Sequence[float], others: Sequence[float]) -> tuple[Vec, Vec]:
    """How many times as large, and how many times as small, voxels are as others on each axis: rounded, and
    one of both is 1."""
    larger = vec(max(round(a / b), 1) for a, b in zip(sizes, others, strict=True))
    smaller = vec(max(round(b / a), 1) for a, b in zip(sizes, others, strict=True))
    return larger, smaller


def finish_cell(cell: Vec) -> Vec:
    """A cube of a few chunks to file rows by; as its side is a power of two it is a range of Morton codes."""
    side = 1 << (4 * max(cell) - 1).bit_length()
    return side, side, side


@dataclass(frozen=True)
class Grid:
    """`bounds` cut into cuboids of size `cell` counted from `anchor`; those at the border are clipped.

    With the anchor at the volume's own start the cells are chunks; with the anchor at voxel 0 the
    grid is a lattice, the same wherever the volume begins and whichever part of it a job covers.
    """

    bounds: Box
    cell: Vec
    anchor: Vec

    @classmethod
    def chunks(cls, bounds: Box, cell: Vec) -> Grid:
        return cls(bounds, cell, bounds.start)

    @classmethod
    def lattice(cls, bounds: Box, cell: Vec) -> Grid:
        return cls(bounds, cell, (0, 0, 0))

    @classmethod
    def whole(cls, bounds: Box) -> Grid:
        return cls(bounds, vec(max(n, 1) for n in bounds.size), bounds.start)

    @cached_property
    def first(self) -> Vec:
        """The position, in cells from the anchor, of the first cell that meets the bounds."""
        return vec((a - o) // c for a, o, c in zip(self.bounds.start, self.anchor, self.cell, strict=True))

    @cached_property
    def shape(self) -> Vec:
        return vec(
            -(-(b - o) // c) - f
            for b, o, c, f in zip(self.bounds.stop, self.anchor, self.cell, self.first, strict=True)
        )

    def __len__(self) -> int:
        return prod(self.shape)

    def position(self, index: int) -> Vec:
        """The cell's place i, j, k within the grid; i runs fastest."""
        nx, ny, _ = self.shape
        return index % nx, index // nx % ny, index // (nx * ny)

    def index(self, position: Vec) -> int:
        nx, ny, _ = self.shape
        return position[0] + nx * (position[1] + ny * position[2])

    def box(self, index: int) -> Box:
        return self.box_at(self.position(index))

    def box_at(self, position: Vec) -> Box:
        start = vec(
            o + (f + p) * c for o, f, p, c in zip(self.anchor, self.first, position, self.cell, strict=True)
        )
        return Box.of_size(self.cell, start).clip(self.bounds)

    def positions_meeting(self, box: Box) -> Box:
        """The cells that share voxels with `box`, as a box of positions."""
        inside = box.clip(self.bounds)
        if inside.empty:
            return Box((0, 0, 0), (0, 0, 0))
        start = vec(
            (a - o) // c - f
            for a, o, c, f in zip(inside.start, self.anchor, self.cell, self.first, strict=True)
        )
        stop = vec(
            -(-(b - o) // c) - f
            for b, o, c, f in zip(inside.stop, self.anchor, self.cell, self.first, strict=True)
        )
        return Box(start, stop)

    def indexes_meeting(self, box: Box) -> Iterator[int]:
        cells = self.positions_meeting(box)
        for k in range(cells.start[2], cells.stop[2]):
            for j in range(cells.start[1], cells.stop[1]):
                for i in range(cells.start[0], cells.stop[0]):
                    yield self.index((i, j, k))

    def coarser(self, factor: int = 2) -> Grid:
        """The grid of blocks of `factor` cells on each axis, counted from this grid's first cell."""
        anchor = vec(o + f * c for o, f, c in zip(self.anchor, self.first, self.cell, strict=True))
        return Grid(self.bounds, vec(c * factor for c in self.cell), anchor)
