"""The voxels of a synthetic block of tissue, the same whichever box of it is made.

1. A cell is a soft ellipsoid with a texture of its own; its light is added to both channels.
2. Light fades with depth, and a background that rises across the volume is added.
3. Shot noise follows: a hash of the seed and the absolute voxel, scaled by the root of the grey value.

Integers throughout, for the same reason as with the cells: every processor gets the same voxels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled
from chunkflow.kernels.hashing import bell, hash_of, hash_of_place
from chunkflow.kernels.synthetic.cells import (
    CFOS,
    DAPI,
    GRAIN,
    KEY,
    RADIUS,
    WIDE_X,
    WIDE_Y,
    WIDE_Z,
    Cells,
    Tissue,
    X,
    Y,
    Z,
)

_KNOTS = 2_000  # nm between the knots of a cell's texture


def render(
    tissue: Tissue, cells: Cells, start: Sequence[int], stop: Sequence[int]
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Both channels, DNA stain and activity, of a box; `cells` are those near it."""
    shape = (stop[0] - start[0], stop[1] - start[1], stop[2] - start[2])
    # 16 bits hold what few cells that overlap add up to, and all is done in place: no more memory is taken
    stain = np.zeros(shape, np.uint16, order="F")
    active = np.zeros(shape, np.uint16, order="F")
    corner, voxel = np.array(start, np.int64), np.array(tissue.voxel, np.int64)
    _light(stain, active, cells, corner, voxel)
    first, size = np.array(tissue.start, np.int64), np.array(tissue.size, np.int64)
    # numba gives a plain int back, which it would take for a signed one
    key = np.uint64(hash_of(np.uint64(tissue.seed), 0))
    _expose(stain, active, corner, first, size, key, tissue.noise)
    return stain, active


@compiled
def _light(stain: Any, active: Any, cells: Any, corner: Any, voxel: Any) -> None:
    """Add every cell to the voxels that it reaches."""
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for n in range(len(cells)):
        cell = cells[n]
        for axis in range(3):
            reach = cell[RADIUS] * 7 // 5  # beyond this the profile is 0, even along the longest axis
            low[axis] = max((cell[axis] - reach) // voxel[axis] - corner[axis], 0)
            high[axis] = min((cell[axis] + reach) // voxel[axis] - corner[axis] + 1, stain.shape[axis])
        for k in range(low[2], high[2]):
            z = (corner[2] + k) * voxel[2] + voxel[2] // 2
            for j in range(low[1], high[1]):
                y = (corner[1] + j) * voxel[1] + voxel[1] // 2
                for i in range(low[0], high[0]):
                    x = (corner[0] + i) * voxel[0] + voxel[0] // 2
                    profile = _profile(cell, x, y, z)
                    if profile > 0:
                        strength = profile * _texture(cell, x, y, z) // 1000
                        stain[i, j, k] += strength * cell[DAPI] // 1000
                        active[i, j, k] += profile * cell[CFOS] // 1000


@compiled
def _profile(cell: Any, x: Any, y: Any, z: Any) -> Any:
    """How bright a cell is at a point, in thousandths: flat within, soft at the edge, half at its radius."""
    dx = (x - cell[X]) * 1000 // cell[WIDE_X]
    dy = (y - cell[Y]) * 1000 // cell[WIDE_Y]
    dz = (z - cell[Z]) * 1000 // cell[WIDE_Z]
    share = (dx * dx + dy * dy + dz * dz) * 1000 // (cell[RADIUS] * cell[RADIUS])
    rise = min(max(1500 - share, 0), 1000)
    return rise * rise * (3000 - 2 * rise) // 1_000_000


@compiled
def _texture(cell: Any, x: Any, y: Any, z: Any) -> Any:
    """Smooth noise around 1000: knots of random height, and straight lines between them along each axis."""
    a, b, c = x // _KNOTS, y // _KNOTS, z // _KNOTS
    u, v, w = x - a * _KNOTS, y - b * _KNOTS, z - c * _KNOTS
    total = 0
    for corner in range(8):
        i, j, k = corner & 1, corner >> 1 & 1, corner >> 2
        near = (u if i else _KNOTS - u) * (v if j else _KNOTS - v) * (w if k else _KNOTS - w)
        height = np.int64(hash_of_place(np.uint64(cell[KEY]), a + i, b + j, c + k) >> np.uint64(54)) - 512
        total += near // 1000 * height
    return 1000 + total // (_KNOTS * _KNOTS * _KNOTS // 1000) * cell[GRAIN] // 1000


@compiled
def _expose(stain: Any, active: Any, corner: Any, first: Any, size: Any, key: Any, noise: Any) -> None:
    """Depth, background and shot noise, in place."""
    nx, ny, nz = stain.shape
    for k in range(nz):
        z = corner[2] + k
        deep = 1000 * (z - first[2]) // size[2]
        bright = 1000 - 100 * deep // 1000
        of_plane = hash_of(key, z)
        for j in range(ny):
            y = corner[1] + j
            aside = 1000 * (y - first[1]) // size[1]
            of_row = hash_of(of_plane, y)
            ground = 200 + 60 * aside // 1000 + 40 * deep * deep // 1_000_000
            for i in range(nx):
                x = corner[0] + i
                across = 1000 * (x - first[0]) // size[0]
                bits = hash_of(of_row, x)
                level = ground + 100 * across // 1000
                stain[i, j, k] = _noisy(level + stain[i, j, k] * bright // 1000, bits, noise)
                level = 150 + (ground >> 1) + 60 * (1000 - across) // 1000
                bits >>= np.uint64(32)
                active[i, j, k] = _noisy(level + active[i, j, k] * bright // 1000, bits, noise)


@compiled
def _noisy(value: Any, bits: Any, noise: Any) -> Any:
    """A photon count varies by its root."""
    root = np.int64(np.sqrt(np.float64(value) * 10_000.0))
    made = value + bell(bits) * root * noise // (148 * 100 * 1000)
    return min(max(made, 0), 65_535)
