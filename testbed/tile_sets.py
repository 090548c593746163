"""Tiles cut out of a volume, as a microscope would have taken them: where they lie is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Vec, vec

Voxels = npt.NDArray[Any]
LEAST, MOST = 0.03, 0.1
"""What neighbours share, of a tile's size."""


@dataclass(frozen=True)
class TileSet:
    """Tiles by row and column, and the first voxel of each in the volume."""

    tiles: dict[tuple[int, int], Voxels]
    starts: dict[tuple[int, int], Vec]
    gains: dict[tuple[int, int], float]
    size: Vec

    def errors(self, places: dict[tuple[int, int], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """How far each tile is from its true place along the axis where it is farthest, all being shifted
        together."""
        off = np.array([places[key] - np.array(start) for key, start in self.starts.items()])
        return np.asarray(np.abs(off - np.median(off, axis=0)).max(axis=1))


def cut(
    volume: Voxels,
    columns: int,
    rows: int,
    seed: int,
    jitter: Vec = (8, 8, 3),
    noise: bool = True,
    light: Voxels | None = None,
) -> TileSet:
    """Tiles that overlap by 3 to 10 %, each up to `jitter` from its place in the grid. With noise every tile
    has shot noise, a gain and an offset of its own; `light` is the field of view (x, y)."""
    rng = np.random.default_rng(seed)
    places, size = _places(volume.shape, columns, rows, jitter, rng)
    tiles, starts, gains = {}, {}, {}
    for row in range(rows):
        for column in range(columns):
            start = vec(places[row, column])
            x, y, z = (slice(a, a + n) for a, n in zip(start, size, strict=True))
            tile = volume[x, y, z]
            gain = float(rng.uniform(0.85, 1.15)) if noise else 1.0
            if noise or light is not None:
                tile = _seen(tile, gain, noise, light, rng)
            tiles[row, column], starts[row, column], gains[row, column] = tile, start, gain
    return TileSet(tiles, starts, gains, size)


def _places(
    shape: tuple[int, ...], columns: int, rows: int, jitter: Vec, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], Vec]:
    """The first voxels by row and column, and the size of a tile. Along the axis of two neighbours a tile
    strays only as far as their overlap allows; across it, as far as `jitter`."""
    sizes, axes = [], []
    for axis, (count, across) in enumerate(((columns, rows), (rows, columns))):
        n = int((shape[axis] - 2 * jitter[axis]) / (count - (count - 1) * (LEAST + MOST) / 2))
        own = min(jitter[axis], int((MOST - LEAST) / 4 * n))
        steps = np.round(np.arange(count) * n * (1 - (LEAST + MOST) / 2)).astype(np.int64)
        line = rng.integers(own - jitter[axis], jitter[axis] - own + 1, (across, 1))
        found = jitter[axis] + steps + line + rng.integers(-own, own + 1, (across, count))
        axes.append(np.clip(found, 0, shape[axis] - n))
        sizes.append(n)
    depth = shape[2] - 2 * jitter[2]
    deep = jitter[2] + rng.integers(-jitter[2], jitter[2] + 1, (rows, columns))
    return np.stack([axes[0], axes[1].T, deep], -1), (sizes[0], sizes[1], depth)


def _seen(tile: Voxels, gain: float, noise: bool, light: Voxels | None, rng: np.random.Generator) -> Voxels:
    """What a camera makes of a tile: 4 grey values a photon, 10 of its own noise, 100 of dark."""
    made = tile.astype(np.float64)
    if light is not None:
        made *= light[:, :, None]
    if noise:
        made = gain * 4 * rng.poisson(made / 4) + rng.uniform(50, 150) + rng.normal(0, 10, tile.shape)
    return np.asarray(np.clip(np.round(made), 0, 65535).astype(np.uint16))
