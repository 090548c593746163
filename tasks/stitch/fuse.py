"""The last step of `stitch`: the volume of one channel, each chunk from the parts of tiles that meet it.

Tiles are laid at whole voxels. Between voxels one would have to interpolate, which smooths a tile's noise by
as much as its place is from a whole voxel: thresholds that are told from noise would then differ from tile
to tile, and half a voxel is less than what a tile is known to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.chunk import Chunk
from chunkflow.data.info import ImageInfo, LayerInfo
from chunkflow.errors import BadInput
from chunkflow.formats.stacks.slabs import cell_size
from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.kernels.images.blending import Doubles, add_weighted, divided
from chunkflow.task import Cell, Image, Layout, Objects, Out
from tasks.stitch.light import Field, field_of
from tasks.stitch.links import OnCanvas, starts
from tasks.stitch.tiles import TileGrid, Tiles

EDGE_TILES = 64
"""So many tiles at most tell what is written where no tile is."""
AT_ONCE = 8
"""Planes that are blended at once: sums take eight times the memory of what they are sums of."""


class Fuse(OnCanvas):
    """One channel of all tiles as one volume."""

    working_bytes: ClassVar[float] = 12.0

    channel: int
    places: Objects
    light: Objects = ""
    gains: Objects = ""
    image: Image = Out()
    overlap: float

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        dtype = self.opened().dtype
        return {"image": ImageInfo(volume=self.whole(), voxel_size=self.voxel_size, dtype=dtype)}

    def grid(self, layout: Layout, region: Box) -> Grid:
        """Chunks, or slabs where tiles are decoded in larger blocks."""
        block, voxel_bytes = self.opened().block, layout.voxels("image").bytes_per_voxel
        return Grid.chunks(region, cell_size(block, layout.chunk, layout.storage, region.size, voxel_bytes))

    def samples(self, layout: Layout) -> list[tuple[str, Box]]:
        tables = [name for name in ("places", "light", "gains") if getattr(self, name)]
        return [(name, layout.info(name).volume) for name in tables]

    def prepare(self, layout: Layout, samples: Iterable[Chunk | pa.Table]) -> dict[str, Any]:
        """The first voxel of each tile, and what is written where no tile is; a layout that hangs apart, or
        does not fit, is refused."""
        places, *evened = samples
        tiles = self.opened()
        _check_whole(places, tiles.grid)
        first = starts(places)
        needed, volume = vec(first.max(axis=0) + tiles.size), layout.info("image").volume
        if not volume.contains(Box.of_size(needed)):
            lacking = [n for n in range(3) if needed[n] > volume.size[n]]
            raise BadInput(
                f"The tiles as placed take {_by(needed)} voxels, more than the {_by(volume.size)} that were "
                f"planned (along {', '.join('xyz'[n] for n in lacking)}): give a larger jitter there, or a "
                "smaller least_overlap."
            )
        light, gains = evened or (None, None)
        return {"starts": first.tolist(), "outside": self._outside(tiles, light, gains)}

    def _outside(self, tiles: Tiles, light: pa.Table | None, gains: pa.Table | None) -> list[list[float]]:
        """Some tiles, all if they are few, and the middle grey value of the first and last plane of each."""
        field = field_of(light, self.channel, tiles.size[:2]) if light is not None else None
        levels = _levels(gains, self.channel, len(tiles.grid))
        used = min(len(tiles.grid), EDGE_TILES)
        found = []
        for tile in (n * len(tiles.grid) // used for n in range(used)):
            ends = []
            for k in (0, tiles.size[2] - 1):
                box = Box((0, 0, k), (*tiles.size[:2], k + 1))
                plane = tiles.read(tile, self.channel, box)
                seen = plane if field is None else field.correct(plane, box, *levels[tile])
                ends.append(round(float(np.median(seen)), 3))
            found.append([tile, *ends])
        return found

    def map(
        self, cell: Cell, places: pa.Table, light: pa.Table | None = None, gains: pa.Table | None = None
    ) -> Chunk | None:
        tiles = self.tiles(cell)
        field = field_of(light, self.channel, tiles.size[:2]) if light is not None else None
        parts = []
        for tile, start in enumerate(cell.values["starts"]):
            inside = cell.box.clip(Box.of_size(tiles.size, vec(start)))
            if not inside.empty:
                own = inside.shift(vec(-n for n in start))
                parts.append((tile, inside, own, tiles.read(tile, self.channel, own)))
        levels = _levels(gains, self.channel, len(tiles.grid))
        made = np.zeros(cell.box.size, tiles.dtype, order="F")
        for low in range(cell.box.start[2], cell.box.stop[2], AT_ONCE):
            slab = Box((*cell.box.start[:2], low), (*cell.box.stop[:2], low + AT_ONCE)).clip(cell.box)
            here = made[slab.slices(cell.box.start)]
            self._blend(here, slab, parts, field, levels, tiles, cell.values)
        return Chunk(made, cell.box, cell.voxel_size)

    def _blend(
        self,
        made: npt.NDArray[np.generic],
        slab: Box,
        parts: Sequence[tuple[int, Box, Box, npt.NDArray[np.generic]]],
        field: Field | None,
        levels: npt.NDArray[np.float64],
        tiles: Tiles,
        values: Mapping[str, Any],
    ) -> None:
        """Fill one slab: weighted means of the tiles that show it, in the order of the tiles."""
        total, weight = np.zeros(made.shape), np.zeros(made.shape)
        ramp = _ramps(tiles.size, self.overlap)
        for tile, inside, own, voxels in parts:
            here = inside.clip(slab)
            if here.empty:
                continue
            seen = voxels[here.slices(inside.start)]
            at = own.start
            x, y, _ = here.shift(vec(a - b for a, b in zip(at, inside.start, strict=True))).slices((0, 0, 0))
            if field is not None:
                tile_box = Box.of_size(vec(seen.shape), (x.start, y.start, 0))
                seen = field.correct(seen, tile_box, *levels[tile])
            place = here.slices(slab.start)
            add_weighted(total[place], weight[place], seen, ramp[0][x], ramp[1][y])
        if not weight.all():
            around = surroundings(slab, tiles.size, values["starts"], values["outside"])
            nowhere = weight == 0
            total[nowhere], weight[nowhere] = around[nowhere], 1.0
        made[...] = divided(total, weight, made.dtype)


def surroundings(
    box: Box, size: Vec, starts: Sequence[Sequence[int]], ends: Sequence[Sequence[float]]
) -> npt.NDArray[np.float64]:
    """What is written where no tile is: the grey of the nearest tile at that depth, so that no edge of the
    tiles looks like a cell. `ends` has some tiles, each with the grey of its first and of its last plane."""
    places = [np.arange(a, b, dtype=np.float64) for a, b in zip(box.start, box.stop, strict=True)]
    squares = [_beyond(places, size, starts[int(tile)]) for tile, _, _ in ends]
    # a tile all of which is farther off than all of another is nearest nowhere
    reach = min(sum(float(along.max()) for along in tile) for tile in squares)
    nearest, grey = np.full(box.size, np.inf), np.zeros(box.size)
    for (tile, first, last), (x, y, z) in zip(ends, squares, strict=True):
        if float(x.min() + y.min() + z.min()) > reach:
            continue
        depth = np.clip((places[2] - starts[int(tile)][2]) / max(size[2] - 1, 1), 0.0, 1.0)
        away = x[:, None, None] + y[:, None] + z
        closer = away < nearest
        nearest = np.where(closer, away, nearest)
        grey = np.where(closer, first + (last - first) * depth, grey)
    return grey


def _beyond(places: Sequence[Doubles], size: Vec, start: Sequence[int]) -> list[Doubles]:
    """How far places lie beyond a tile, squared, along each axis."""
    axes = zip(places, start, size, strict=True)
    return [np.maximum(np.maximum(a - place, place - (a + n - 1)), 0.0) ** 2 for place, a, n in axes]


def _check_whole(places: pa.Table, grid: TileGrid) -> None:
    pieces = places["piece"].to_numpy()
    numbers, counts = np.unique(pieces, return_counts=True)
    if len(numbers) == 1:
        return
    largest = numbers[np.argmax(counts)]
    apart = [grid.place(int(tile)) for tile in np.flatnonzero(pieces != largest)]
    names = ", ".join(f"{row + 1}/{column + 1}" for row, column in apart[:8])
    more = f" and {len(apart) - 8} more" if len(apart) > 8 else ""
    raise BadInput(
        f"The tiles at row/column {names}{more} (from 1) hang apart from the other {counts.max()}: no "
        "link that can be trusted joins them. See layout.png and links.csv in the report; a larger overlap "
        "or jitter, another register_on, or a lower least_correlation may help."
    )


def _levels(gains: pa.Table | None, channel: int, tiles: int) -> npt.NDArray[np.float64]:
    """Gain and offset of each tile."""
    if gains is None:
        return np.tile([1.0, 0.0], (tiles, 1))
    rows = gains.filter(pa.array(gains["channel"].to_numpy() == channel))
    return np.stack([rows["gain"].to_numpy(), rows["offset"].to_numpy()], 1)


def _ramps(size: Vec, overlap: float) -> list[npt.NDArray[np.float64]]:
    """Weights along x and y: they rise by one a voxel from the tile's edges, as far as tiles may overlap."""
    made = []
    for n in size[:2]:
        distance = np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1))
        made.append(np.minimum(distance, max(1, int(np.ceil(overlap * n)))).astype(np.float64))
    return made


def _by(size: Vec) -> str:
    return " x ".join(str(n) for n in size)
