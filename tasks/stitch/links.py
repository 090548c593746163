"""The first steps of `stitch`: how neighbours lie against each other, and from that where all tiles lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo, TableInfo
from chunkflow.geometry import Box, Grid, Vec, VoxelSize, vec
from chunkflow.kernels.images.placement import Placement, place
from chunkflow.kernels.images.registration import Match, evidence, match_by_overlap, match_by_phase
from chunkflow.task import Cell, Layout, MergedRows, Objects, Out, Task
from tasks.stitch.tiles import TileGrid, Tiles, TileSource

Jitter = tuple[int, int, int]
Method = Literal["phase", "overlap-search"]
PLANES = 48
"""Of a deeper stack three slabs of a third of this are looked at, or deeper ones where jitter asks for it."""
SLABS = 3


class OfTiles(Task):
    """What all steps of a stitch have in common."""

    source: TileSource
    voxel_size: VoxelSize

    def opened(self) -> Tiles:
        return Tiles(self.source)

    def setup(self, layout: Layout) -> Tiles:
        return self.opened()

    def tiles(self, cell: Cell) -> Tiles:
        return cell.loaded or self.opened()

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.chunks(region, (1, 1, 1))

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        """All of each table."""
        return [layout.info(field).volume]


class TableOfTiles(OfTiles):
    """What the steps have in common that make a table."""

    shape = MergedRows()

    def table(self, cells: int = 1) -> TableInfo:
        """A table of this task's own, made by so many cells in a row."""
        return TableInfo(volume=Box.of_size((cells, 1, 1)), voxel_size=self.voxel_size)

    def merge(self, rows: pa.Table) -> pa.Table:
        """Each row comes from one cell."""
        return rows


class OnCanvas(OfTiles):
    """What the steps have in common that show all tiles as one volume."""

    least_overlap: float
    jitter: Jitter

    def whole(self) -> Box:
        """The volume, as large as it is given before it is known where the tiles lie: the grid as wide as it
        can be, and `jitter` on all sides."""
        tiles = self.opened()
        counts = (tiles.grid.columns, tiles.grid.rows, 1)
        deep = tiles.size[2] > 1
        size = vec(
            n + (count - 1) * (n - int(self.least_overlap * n)) + 2 * margin * (axis < 2 or deep)
            for axis, (n, count, margin) in enumerate(zip(tiles.size, counts, self.jitter, strict=True))
        )
        return Box.of_size(size)


class Links(TableOfTiles):
    """One row for each two neighbours: how the second lies against the first, and how alike they are."""

    links: Objects = Out()
    register_on: int
    method: Method
    overlap: float
    least_overlap: float
    jitter: Jitter

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"links": self.table(len(self.source.find().pairs()))}

    def prepare(self, layout: Layout, samples: Iterable[Chunk | pa.Table]) -> dict[str, int]:
        """Every tile is looked at before the first voxel is written."""
        return {"tiles": self.opened().check()}

    def map(self, cell: Cell, **inputs: object) -> pa.Table:
        tiles = self.tiles(cell)
        one, two, axis = tiles.grid.pairs()[cell.index]
        match = self.match(tiles, one, two, axis)
        columns: dict[str, pa.Array] = {"id": pa.array([cell.index + 1], pa.uint64())}
        columns |= {"one": pa.array([one]), "two": pa.array([two])}
        columns |= {name: pa.array([shift]) for name, shift in zip("xyz", match.shift, strict=True)}
        return pa.table(
            columns | {"correlation": pa.array([match.correlation]), "voxels": pa.array([match.voxels])}
        )

    def match(self, tiles: Tiles, one: int, two: int, axis: int) -> Match:
        """The place of the second tile's first voxel in voxels of the first tile."""
        size = tiles.size
        length = min(size[axis], int(np.ceil(self.overlap * size[axis])) + 2 * self.jitter[axis])
        before = size[axis] - length
        slabs = []
        for low, high in _depths(size[2], self.jitter[2]):
            first, second = [0, 0, low], [0, 0, low]
            first[axis] = before
            shape = [size[0], size[1], high - low]
            shape[axis] = length
            slabs.append(
                (
                    tiles.read(one, self.register_on, Box.of_size(vec(shape), vec(first))),
                    tiles.read(two, self.register_on, Box.of_size(vec(shape), vec(second))),
                )
            )
        if self.method == "phase":
            match = match_by_phase(slabs, self._window(size, slabs[0][0].shape, axis, length))
        else:
            match = match_by_overlap(slabs, axis, max(1, min(length, int(self.overlap * size[axis]))))
        x, y, z = (shift + before * (n == axis) for n, shift in enumerate(match.shift))
        return Match((x, y, z), match.correlation, match.voxels)

    def _window(self, size: Vec, shape: tuple[int, ...], axis: int, length: int) -> Box:
        """The shifts to look among: two tiles may each be `jitter` from their places."""
        reach = [min(2 * jitter, n - 1) for jitter, n in zip(self.jitter, shape, strict=True)]
        start, stop = [-n for n in reach], [n + 1 for n in reach]
        least = max(1, int(self.least_overlap * size[axis]) - 2 * self.jitter[axis])
        start[axis], stop[axis] = 0, max(1, length - least + 1)
        return Box(vec(start), vec(stop))


def _depths(planes: int, jitter: int) -> list[tuple[int, int]]:
    """The slabs of depth that are looked at: all of a shallow stack, three of a deep one."""
    deep = max(PLANES // SLABS, 4 * jitter)
    if planes <= SLABS * deep:
        return [(0, planes)]
    starts = [(planes - deep) * (2 * n + 1) // (2 * SLABS) for n in range(SLABS)]
    return [(start, start + deep) for start in starts]


class PlaceTiles(TableOfTiles):
    """Place the tiles: one row for each, with its place in voxels and its piece of the grid."""

    links: Objects
    places: Objects = Out()
    least_correlation: float

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"places": self.table()}

    def map(self, cell: Cell, links: pa.Table) -> pa.Table:
        tiles = self.tiles(cell)
        found = placed(links, tiles.grid, tiles.size, self.least_correlation)
        numbers = np.arange(len(tiles.grid))
        columns = {"id": pa.array(numbers + 1, pa.uint64()), "piece": pa.array(found.pieces)}
        columns |= {name: pa.array(found.places[:, axis]) for axis, name in enumerate("xyz")}
        return pa.table(columns)


def placed(links: pa.Table, grid: TileGrid, size: Vec, least_correlation: float) -> Placement:
    """The places of all tiles; links that are less alike than asked for have no weight."""
    correlations = links["correlation"].to_numpy()
    weights = np.array([evidence(r) if r >= least_correlation else 0.0 for r in correlations])
    pairs = np.stack([links["one"].to_numpy(), links["two"].to_numpy()], 1)
    shifts = np.stack([links[axis].to_numpy() for axis in "xyz"], 1)
    rows, columns = np.divmod(np.arange(len(grid)), grid.columns)
    nominal = np.stack([columns * size[0], rows * size[1], 0 * rows], 1).astype(np.float64)
    return place(pairs, shifts, weights, nominal)


def starts(places: pa.Table) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The first voxel of each tile, whole."""
    exact = np.stack([places[axis].to_numpy() for axis in "xyz"], 1)
    whole = np.floor(exact + 0.5).astype(np.int64)
    return np.asarray(whole - whole.min(axis=0))
