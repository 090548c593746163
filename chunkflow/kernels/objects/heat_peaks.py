"""Peaks of a heatmap: the voxels around which it sums up highest, and the middle of the heat in their reach.

1. The heat, in whole steps, is summed over a box around every voxel, and these sums over the same box again:
   noise goes, and a plateau has its largest sum in its middle.
2. A voxel of at least the threshold is a peak where no other such voxel in its reach has a larger sum.
3. Of equal sums the first voxel is the peak, by z, then y, then x: an order that no cut changes.
4. The heat of at least the threshold in reach of each peak is added up, by its place.
"""

from collections.abc import Sequence
from math import floor, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Heat = NDArray[np.uint8] | NDArray[np.uint16]
Offsets = NDArray[np.int64]
LARGEST_BOX = 2**23
"""Voxels of a box whose sums of sums of 16 bits fit 64 bits."""


class HeatPeaks(NamedTuple):
    """The peaks of a heatmap, in the order of their places by z, then y, then x."""

    places: NDArray[np.int64]
    """Rows of x, y, z within the window."""
    heights: NDArray[np.int64]
    weights: NDArray[np.int64]
    """The heat in reach of each."""
    moments: NDArray[np.int64]
    """The heat times how far it lies from the peak, along x, y, z."""

    def centres(self, start: Sequence[int]) -> NDArray[np.float64]:
        """The centre of the heat in reach of each, in continuous voxels; the window begins at `start`."""
        middle = 2 * (self.places + np.array(start)) + 1
        weights = self.weights[:, None]
        return np.asarray((middle * weights + 2 * self.moments) / (2 * weights))


def find_heat_peaks(
    heat: Heat,
    core: Sequence[tuple[int, int]],
    threshold: int,
    half: Sequence[int],
    offsets: Offsets,
) -> HeatPeaks:
    """The peaks within `core` (start, stop along x, y, z) of a window; beyond the window there is no heat.

    Boxes go `half` voxels to each side; `offsets` are those of `offsets_within`.
    """
    if prod(2 * n + 1 for n in half) > LARGEST_BOX:
        raise ValueError(f"a box of {half} voxels to each side is too large for sums of 64 bits")
    planes: NDArray[Any] = np.ascontiguousarray(heat.T)
    (x, x_stop), (y, y_stop), (z, z_stop) = core
    if planes[z:z_stop, y:y_stop, x:x_stop].max(initial=0) < threshold:
        nothing = np.zeros(0, np.int64)
        return HeatPeaks(nothing.reshape(0, 3), nothing, nothing, nothing.reshape(0, 3))
    sums = _sums_of_sums(planes, half[::-1])
    bounds = np.array([[z, z_stop], [y, y_stop], [x, x_stop]], np.int64)
    places = np.argwhere(_mark_peaks(planes, sums, bounds, threshold, offsets)) + bounds[:, 0]
    weights, moments = _weigh(planes, places, threshold, offsets)
    heights = planes[tuple(places.T)].astype(np.int64)
    return HeatPeaks(np.ascontiguousarray(places[:, ::-1]), heights, weights, moments)


def peak_reach(
    diameter: float, voxel_size: Sequence[float]
) -> tuple[tuple[float, float, float], tuple[int, int, int]]:
    """Half a diameter (nanometres) in voxels, within which a peak is the highest; and a quarter in whole
    voxels, what a box goes to each side."""
    x, y, z = (diameter / 2 / size for size in voxel_size)
    return (x, y, z), (floor(x / 2), floor(y / 2), floor(z / 2))


def offsets_within(radii: Sequence[float]) -> Offsets:
    """Offsets (rows of z, y, x) to the voxels in an ellipsoid of these radii in voxels along x, y, z, and to
    all 26 neighbours; the nearest first, without the voxel itself."""
    sides = [np.arange(-max(1, floor(r)), max(1, floor(r)) + 1) for r in radii[::-1]]
    z, y, x = (part.ravel() for part in np.meshgrid(*sides, indexing="ij"))
    along = [(n / r) * (n / r) for n, r in zip((z, y, x), radii[::-1], strict=True)]
    distance = along[0] + along[1] + along[2]
    neighbours = np.maximum(np.maximum(abs(z), abs(y)), abs(x)) == 1
    kept = ((distance <= 1) | neighbours) & (distance > 0)
    offsets = np.stack([z, y, x], 1)[kept]
    return np.ascontiguousarray(offsets[np.argsort(distance[kept], kind="stable")], np.int64)


def _sums_of_sums(planes: NDArray[Any], half: Sequence[int]) -> NDArray[np.int64]:
    sums = planes.astype(np.int64)
    spare = np.empty_like(sums)
    depth, height, width = sums.shape
    for side, shape in zip(
        half, ((1, depth, height * width), (depth, height, width), (depth * height, width, 1)), strict=True
    ):
        if side:
            _sum_along(sums.reshape(shape), spare.reshape(shape), side)
            _sum_along(spare.reshape(shape), sums.reshape(shape), side)
    return sums


@compiled
def _sum_along(given: Any, made: Any, half: int) -> None:
    """Sums of `half` rows to each side along the middle axis, carried from row to row."""
    blocks, length, width = given.shape
    total = np.empty(width, np.int64)
    for block in range(blocks):
        total[:] = 0
        for i in range(-half, length):
            if i + half < length:
                for x in range(width):
                    total[x] += given[block, i + half, x]
            if i > half:
                for x in range(width):
                    total[x] -= given[block, i - half - 1, x]
            if i >= 0:
                for x in range(width):
                    made[block, i, x] = total[x]


@compiled
def _mark_peaks(heat: Any, sums: Any, core: Any, threshold: int, offsets: Any) -> Any:
    marked = np.zeros((core[0, 1] - core[0, 0], core[1, 1] - core[1, 0], core[2, 1] - core[2, 0]), np.bool_)
    for z in range(core[0, 0], core[0, 1]):
        for y in range(core[1, 0], core[1, 1]):
            for x in range(core[2, 0], core[2, 1]):
                if heat[z, y, x] >= threshold and _is_highest(heat, sums, z, y, x, threshold, offsets):
                    marked[z - core[0, 0], y - core[1, 0], x - core[2, 0]] = True
    return marked


@compiled
def _is_highest(heat: Any, sums: Any, z: int, y: int, x: int, threshold: int, offsets: Any) -> Any:
    depth, height, width = heat.shape
    own = sums[z, y, x]
    for n in range(len(offsets)):
        at_z, at_y, at_x = z + offsets[n, 0], y + offsets[n, 1], x + offsets[n, 2]
        if not (0 <= at_z < depth and 0 <= at_y < height and 0 <= at_x < width):
            continue
        other = sums[at_z, at_y, at_x]
        if other < own or heat[at_z, at_y, at_x] < threshold:
            continue
        if other > own or (at_z, at_y, at_x) < (z, y, x):
            return False
    return True


@compiled
def _weigh(heat: Any, places: Any, threshold: int, offsets: Any) -> Any:
    depth, height, width = heat.shape
    weights = np.zeros(len(places), np.int64)
    moments = np.zeros((len(places), 3), np.int64)
    for peak in range(len(places)):
        z, y, x = places[peak, 0], places[peak, 1], places[peak, 2]
        weights[peak] = heat[z, y, x]
        for n in range(len(offsets)):
            at_z, at_y, at_x = z + offsets[n, 0], y + offsets[n, 1], x + offsets[n, 2]
            if not (0 <= at_z < depth and 0 <= at_y < height and 0 <= at_x < width):
                continue
            value = np.int64(heat[at_z, at_y, at_x])
            if value >= threshold:
                weights[peak] += value
                moments[peak, 0] += value * offsets[n, 2]
                moments[peak, 1] += value * offsets[n, 1]
                moments[peak, 2] += value * offsets[n, 0]
    return weights, moments
