"""The tiles that a light-sheet microscope makes of a volume: where they lie, and what light does to them.

1. The stage goes from column to column and row to row by steps of its own, each a little shorter than a tile.
   A row as a whole is shifted along x (the stage comes back from the other side), a column along y, every
   tile along z, and each by a voxel or so of its own.
2. The optics light the middle of the field more than its edges, not quite centred, each channel in its own
   way: that is the field `flat`.
3. Light becomes shot noise, drawn anew in every tile, then is amplified by the tile's gain; its offset is
   added.

Positions, gains and offsets are whole numbers from hashes of the seed. Voxels are products, sums and square
roots, each rounded by itself: every processor makes the same tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.geometry import Vec, vec
from chunkflow.kernels.compiled import compiled
from chunkflow.kernels.hashing import bell, draw, hash_of, hash_of_place

# What of a tile is drawn: each has hashes of its own
_STEP_X, _STEP_Y, _ROW, _COLUMN, _DEPTH, _OWN, _GAIN, _OFFSET, _CENTRE, _NOISE = range(1, 11)


@dataclass(frozen=True)
class Microscope:
    """Which tiles it makes, and how exactly its stage goes."""

    seed: int
    columns: int
    rows: int
    size: Vec
    """Voxels of a tile."""
    overlap: tuple[float, float]
    """Least and largest share of a tile that it has in common with the next."""
    jitter: Vec
    """Voxels that a tile may lie off along each axis, to either side."""

    @property
    def own(self) -> int:
        """Voxels along x and y by which a tile lies off by itself; the rest of the jitter it has in common
        with its row or column, or overlaps would not be as asked for."""
        room = min(self.size[0], self.size[1]) * (self.overlap[1] - self.overlap[0])
        return min(1, int(room) // 4, self.jitter[0], self.jitter[1])

    @property
    def steps(self) -> tuple[list[int], list[int]]:
        """Where columns begin along x, and rows along y, but for the jitter; the first at 0."""
        return self._steps(0, self.columns, _STEP_X), self._steps(1, self.rows, _STEP_Y)

    @property
    def most(self) -> Vec:
        """The extent that no scan of such tiles exceeds, whatever its seed."""
        ends = [
            (count - 1) * (n - self._overlaps(axis)[0]) + n
            for axis, (count, n) in enumerate(zip((self.columns, self.rows), self.size[:2], strict=True))
        ]
        return vec(end + 2 * j for end, j in zip((*ends, self.size[2]), self.jitter, strict=True))

    def places(self) -> NDArray[np.int64]:
        """The first voxel of each tile (rows of x, y, z), row by row; all lie within `most` from 0."""
        found = np.zeros((self.rows * self.columns, 3), np.int64)
        xs, ys = self.steps
        shared = [j - self.own for j in self.jitter[:2]]
        for n in range(len(found)):
            row, column = divmod(n, self.columns)
            found[n] = (
                xs[column] + self._off(_ROW, row, shared[0]) + self._off(_OWN, 2 * n, self.own),
                ys[row] + self._off(_COLUMN, column, shared[1]) + self._off(_OWN, 2 * n + 1, self.own),
                self._off(_DEPTH, n, self.jitter[2]),
            )
        found += np.array(self.jitter)
        return found

    def lights(self, channel: int, gain: float, offset: float) -> NDArray[np.float64]:
        """Gain (from 1 - gain to 1 + gain) and offset (from -offset to offset) of each tile in a channel."""
        tiles = range(self.rows * self.columns)
        drawn = [
            (1 + gain * self._share(_GAIN, channel, n), offset * self._share(_OFFSET, channel, n))
            for n in tiles
        ]
        return np.array(drawn, np.float64)

    def flat(self, channel: int, depth: float) -> NDArray[np.float32]:
        """The field of a channel, x and y, mean 1: `depth` less light in the darkest corner than at the
        brightest place, which is off the centre by up to 0.3 of the field's half."""
        x, y = (0.3 * self._share(_CENTRE, channel, axis) for axis in range(2))
        u, v = ((np.arange(n) + 0.5) * 2 / n - 1 for n in self.size[:2])
        far = (u[:, None] - x) ** 2 + (v[None, :] - y) ** 2
        field = 1 - depth * far / ((1 + abs(x)) ** 2 + (1 + abs(y)) ** 2)
        return np.asarray(np.round(field / field.mean() * 2**14) / 2**14, np.float32)

    def noise_key(self, channel: int, tile: int) -> np.uint64:
        return np.uint64(hash_of_place(np.uint64(self.seed), _NOISE, channel, tile))

    def _overlaps(self, axis: int) -> tuple[int, int]:
        """Least and largest overlap that a step may leave, in voxels: the tiles' own jitter comes on top."""
        low, high = (self.size[axis] * share for share in self.overlap)
        least = int(np.ceil(low)) + 2 * self.own
        return least, max(int(high) - 2 * self.own, least)

    def _steps(self, axis: int, count: int, kind: int) -> list[int]:
        least, most = self._overlaps(axis)
        places = [0]
        for n in range(count - 1):
            key = np.uint64(hash_of_place(np.uint64(self.seed), kind, n, 0))
            places.append(places[-1] + self.size[axis] - int(draw(key, 0, least, most + 1)))
        return places

    def _off(self, kind: int, n: int, most: int) -> int:
        key = np.uint64(hash_of_place(np.uint64(self.seed), kind, n, 0))
        return int(draw(key, 0, -most, most + 1))

    def _share(self, kind: int, channel: int, n: int) -> float:
        """From -1 to 1 in thousandths."""
        key = np.uint64(hash_of_place(np.uint64(self.seed), kind, channel, n))
        return int(draw(key, 0, -1000, 1001)) / 1000


def snake(columns: int, rows: int) -> list[int]:
    """The tiles (counted row by row) in the order in which the stage comes by: every other row backwards."""
    order = []
    for row in range(rows):
        along = range(columns) if row % 2 == 0 else range(columns - 1, -1, -1)
        order += [row * columns + column for column in along]
    return order


def expose(
    light: NDArray[np.generic],
    flat: NDArray[np.float32],
    gain: float,
    offset: float,
    noise: float,
    key: np.uint64,
) -> NDArray[np.uint16]:
    """What the camera shows of `light` (x, y, z), plane by plane (z, y, x); `noise` counts deviations in
    roots of the light."""
    made = np.empty(light.shape[::-1], np.uint16)
    _expose(light, flat, np.float64(gain), np.float64(offset), np.float64(noise), key, made)
    return made


@compiled
def _expose(light: Any, flat: Any, gain: Any, offset: Any, noise: Any, key: Any, made: Any) -> None:
    nx, ny, nz = light.shape
    for k in range(nz):
        of_plane = hash_of(key, k)
        for j in range(ny):
            of_row = hash_of(of_plane, j)
            for i in range(nx):
                bright = np.float64(light[i, j, k]) * np.float64(flat[i, j])
                noisy = bright + np.sqrt(bright) * noise * (bell(hash_of(of_row, i)) / 148.0)
                value = np.floor(noisy * gain + offset + 0.5)
                made[k, j, i] = np.uint16(min(max(value, 0.0), 65_535.0))
