"""The light of a stitch: how uneven the field of view is, and how bright each tile came out.

1. `sample` takes some planes of the tiles, made small.
2. `light` finds the field of each channel from them, or takes it from a file.
3. `overlaps` sums up what two neighbours show of the same place, the field taken out. From such sums `even`
   takes out of a field that was found what all tiles' tissue has put into it: gains with a trend tell.
4. `balance` finds each tile's gain and offset from the overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.data.info import LayerInfo
from chunkflow.geometry import Box, vec
from chunkflow.kernels.illumination.shading import (
    Doubles,
    Floats,
    correct,
    estimate_shading,
    overlap_levels,
    resize_field,
    solve_gains,
    solve_light,
)
from chunkflow.task import Cell, Layout, Objects, Out
from tasks.stitch.light_kept import field_columns, fields, read_light
from tasks.stitch.links import TableOfTiles, starts

Pairs = npt.NDArray[np.int64]
SAMPLES = 256
"""Planes of a channel, of all tiles together, from which its field is found."""
OF_A_TILE = 8
SIDE = 128
"""Pixels of a plane that is made small, at most."""
DEEP = 16
"""Planes of an overlap that are looked at: those in its middle."""


class Sample(TableOfTiles):
    """Some planes of one tile, in every channel, made small."""

    planes: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"planes": self.table(min(len(self.source.find()), SAMPLES))}

    def map(self, cell: Cell, **inputs: object) -> pa.Table:
        tiles = self.tiles(cell)
        used = min(len(tiles.grid), SAMPLES)
        tile = cell.index * len(tiles.grid) // used
        x, y, depth = tiles.size
        count = min(max(SAMPLES // used, 1), OF_A_TILE, depth)
        rows = []
        for channel in range(len(self.source.images)):
            for n in range(count):
                k = depth * (2 * n + 1) // (2 * count)
                plane = tiles.read(tile, channel, Box((0, 0, k), (x, y, k + 1)))[:, :, 0]
                rows.append((channel, small(plane)))
        first = 1 + cell.index * len(self.source.images) * OF_A_TILE
        return pa.table(
            {
                "id": pa.array(range(first, first + len(rows)), pa.uint64()),
                "channel": pa.array([channel for channel, _ in rows], pa.int64()),
                **field_columns("plane", [plane for _, plane in rows]),
            }
        )


class Light(TableOfTiles):
    """One row a channel: its field, and what the camera shows in the dark."""

    planes: Objects = ""
    light: Objects = Out()
    file: str = ""

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        if self.file:
            read_light(Path(self.file), len(self.source.images))
        return {"light": self.table(len(self.source.images))}

    def map(self, cell: Cell, planes: pa.Table | None = None) -> pa.Table:
        if planes is None:
            found = read_light(Path(self.file), len(self.source.images))[cell.index]
        else:
            rows = planes.filter(pa.array(planes["channel"].to_numpy() == cell.index))
            found = estimate_shading(np.stack(fields(rows, "plane")))
        return pa.table(
            {
                "id": pa.array([cell.index + 1], pa.uint64()),
                **field_columns("flat", [found.flat]),
                **field_columns("dark", [found.dark]),
            }
        )


class OverlapBrightness(TableOfTiles):
    """Compare the brightness of neighbours where they overlap: one row a pair and channel."""

    places: Objects
    light: Objects
    overlaps: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"overlaps": self.table(len(self.source.find().pairs()))}

    def map(self, cell: Cell, places: pa.Table, light: pa.Table) -> pa.Table | None:
        tiles, channels = self.tiles(cell), len(self.source.images)
        one, two, _ = tiles.grid.pairs()[cell.index]
        boxes = [Box.of_size(tiles.size, vec(start)) for start in starts(places)[[one, two]]]
        shared = boxes[0].clip(boxes[1])
        pieces = places["piece"].to_numpy()
        if shared.empty or pieces[one] != pieces[two]:
            return None
        middle = (shared.start[2] + shared.stop[2] - DEEP) // 2
        slab = Box((*shared.start[:2], middle), (*shared.stop[:2], middle + DEEP)).clip(shared)
        rows = []
        for channel in range(channels):
            field = field_of(light, channel, tiles.size[:2])
            seen = []
            for tile, box in zip((one, two), boxes, strict=True):
                own = slab.shift(vec(-n for n in box.start))
                seen.append(field.correct(tiles.read(tile, channel, own), own))
            means, spreads = overlap_levels(*seen)
            rows.append(
                (cell.index * channels + channel + 1, channel, one, two, *means, *spreads, slab.voxels)
            )
        return _table(rows)

    def no_rows(self, layout: Layout) -> pa.Table:
        return _table([])


NAMES = ("id", "channel", "one", "two", "mean_one", "mean_two", "spread_one", "spread_two", "voxels")


def _table(rows: Sequence[tuple[float, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(NAMES)
    kinds = [pa.uint64(), *[pa.int64()] * 3, *[pa.float64()] * 4, pa.int64()]
    return pa.table(
        {name: pa.array(values, kind) for name, values, kind in zip(NAMES, columns, kinds, strict=True)}
    )


class Even(TableOfTiles):
    """The field of each channel without what tissue has put into it: rows as those of `Light`."""

    overlaps: Objects
    places: Objects
    found: Objects
    light: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"light": self.table(len(self.source.images))}

    def map(self, cell: Cell, overlaps: pa.Table, places: pa.Table, found: pa.Table) -> pa.Table:
        flat, dark = (fields(found, name)[cell.index] for name in ("flat", "dark"))
        links = _links(overlaps, cell.index)
        corners, size = starts(places)[:, :2], np.array(self.tiles(cell).size[:2])
        both = corners[links[0]]
        middles = (both.max(axis=1) + both.min(axis=1) + size)[:, None] / 2 - both
        pixel = np.array(flat.shape) / size
        evened, _, _ = solve_light(flat, *links, corners * pixel, middles * pixel)
        return pa.table(
            {
                "id": pa.array([cell.index + 1], pa.uint64()),
                **field_columns("flat", [evened]),
                **field_columns("dark", [dark]),
            }
        )


def _links(overlaps: pa.Table, channel: int) -> tuple[Pairs, Doubles, Doubles, Doubles]:
    """Of a channel's overlaps the two tiles, means and spreads of both, and the weights."""
    rows = overlaps.filter(pa.array(overlaps["channel"].to_numpy() == channel))
    pairs, means, spreads = (
        np.stack([rows[name].to_numpy() for name in names], 1)
        for names in (("one", "two"), ("mean_one", "mean_two"), ("spread_one", "spread_two"))
    )
    return pairs, means, spreads, rows["voxels"].to_numpy().astype(np.float64)


class Balance(TableOfTiles):
    """One row for each tile and channel: its gain and offset."""

    overlaps: Objects
    gains: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"gains": self.table()}

    def map(self, cell: Cell, overlaps: pa.Table) -> pa.Table:
        tiles = len(self.source.find())
        channels = len(self.source.images)
        found = []
        for channel in range(channels):
            found.append(np.stack(solve_gains(*_links(overlaps, channel), tiles), 1))
        both = np.stack(found, 1).reshape(-1, 2)
        tile, channel_of = np.divmod(np.arange(len(both)), channels)
        return pa.table(
            {
                "id": pa.array(np.arange(len(both)) + 1, pa.uint64()),
                "tile": pa.array(tile),
                "channel": pa.array(channel_of),
                "gain": pa.array(both[:, 0]),
                "offset": pa.array(both[:, 1]),
            }
        )


@dataclass(frozen=True)
class Field:
    """The light of one channel, at the size of a tile."""

    flat: Floats
    dark: Floats

    def correct(
        self, voxels: npt.NDArray[np.generic], box: Box, gain: float = 1.0, offset: float = 0.0
    ) -> Floats:
        """The voxels of a box of a tile as even light would show them."""
        x, y, _ = box.slices((0, 0, 0))
        return correct(voxels, self.flat[x, y], self.dark[x, y], gain, offset)


def field_of(light: pa.Table, channel: int, size: Sequence[int]) -> Field:
    row = light.slice(channel, 1)
    flat, dark = (resize_field(fields(row, name)[0], size) for name in ("flat", "dark"))
    return Field(flat, dark)


def small(plane: npt.NDArray[np.generic]) -> Floats:
    """A plane of means of equal blocks, of at most `SIDE` pixels along each axis."""
    made = plane.astype(np.float64)
    for axis in (0, 1):
        length = made.shape[axis]
        edges = np.arange(min(SIDE, length) + 1) * length // min(SIDE, length)
        counts = np.diff(edges).reshape((-1, 1) if axis == 0 else (1, -1))
        made = np.add.reduceat(made, edges[:-1], axis=axis) / counts
    return made.astype(np.float32)
