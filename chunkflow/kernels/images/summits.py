"""Summits of a heatmap: one place for each blob, also where its top is flat.

1. The values in the cuboid around each voxel are added up (whole numbers). The sum is largest in the middle
   of a blob, where a value alone may be the same over many voxels.
2. Of the voxels that reach the threshold, a summit is one whose sum no other within a radius exceeds; of
   equal sums the larger value counts, and then the lowest z, y, x.
3. Its place is the centre of mass of the values in the cuboid.

All of it depends on the voxels within the cuboid and the radius alone, so no cut changes it. Beyond the
volume all is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Box, Vec, VoxelSize, vec
from chunkflow.kernels.compiled import compiled

Floats = npt.NDArray[np.float64]


def cuboid_reach(radius: float, voxel_size: VoxelSize) -> Vec:
    """How many voxels the cuboid goes beyond its middle; `radius` is in nanometres."""
    return vec(round(radius / size) for size in voxel_size)


def window_reach(radius: float, voxel_size: VoxelSize) -> Vec:
    """How far around a voxel lies what decides whether it is a summit."""
    cuboid = cuboid_reach(radius, voxel_size)
    return vec(int(radius / size) + reach for size, reach in zip(voxel_size, cuboid, strict=True))


def find_summits(
    heat: npt.NDArray[np.uint16], window: Box, core: Box, radius: float, voxel_size: VoxelSize, least: int
) -> tuple[npt.NDArray[np.int64], Floats, npt.NDArray[np.uint16]]:
    """The summits in `core` of at least `least`: voxels, places (continuous, in voxels) and values.

    `heat` fills `window`, which holds `core` grown by `window_reach`, or ends with the volume.
    """
    reach = np.array(cuboid_reach(radius, voxel_size))
    heat = np.ascontiguousarray(heat)
    inside = core.slices(window.start)
    spans = np.array([(part.start, part.stop) for part in inside])
    near = _ellipsoid(radius, voxel_size)
    voxels = _summits(heat, _cuboid_sums(heat, reach), spans, near, max(least, 1))
    absolute = voxels + np.array(window.start)
    return absolute, absolute + _centres(heat, voxels, reach), heat[tuple(voxels.T)]


def _ellipsoid(radius: float, voxel_size: VoxelSize) -> npt.NDArray[np.int64]:
    """All steps, but none, to voxels whose middles lie within the radius."""
    reach = [int(radius / size) for size in voxel_size]
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1).reshape(-1, 3)
    far = ((steps * np.array(voxel_size)) ** 2).sum(axis=1)
    return np.ascontiguousarray(steps[(far <= radius**2) & steps.any(axis=1)]).astype(np.int64)


def _cuboid_sums(heat: npt.NDArray[np.uint16], reach: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The sum over the cuboid around each voxel."""
    sums = heat.astype(np.int64)
    for axis, n in enumerate(reach):
        size = sums.shape[axis]
        up_to = np.concatenate([np.zeros_like(sums.take([0], axis)), sums.cumsum(axis)], axis)
        last = np.minimum(np.arange(size) + n + 1, size)
        first = np.maximum(np.arange(size) - n, 0)
        sums = up_to.take(last, axis) - up_to.take(first, axis)
    return np.ascontiguousarray(sums)


@compiled
def _summits(heat: Any, sums: Any, core: Any, near: Any, least: int) -> Any:
    found = np.empty((256, 3), np.int64)
    count = 0
    for x in range(core[0, 0], core[0, 1]):
        for y in range(core[1, 0], core[1, 1]):
            for z in range(core[2, 0], core[2, 1]):
                if heat[x, y, z] < least:
                    continue
                own, highest = sums[x, y, z], True
                for step in range(near.shape[0]):
                    i, j, k = x + near[step, 0], y + near[step, 1], z + near[step, 2]
                    if i < 0 or j < 0 or k < 0:
                        continue
                    if i >= sums.shape[0] or j >= sums.shape[1] or k >= sums.shape[2]:
                        continue
                    other = heat[i, j, k]
                    if other < least or sums[i, j, k] < own:
                        continue
                    if sums[i, j, k] > own or other > heat[x, y, z]:
                        highest = False
                        break
                    if other == heat[x, y, z] and (k, j, i) < (z, y, x):
                        highest = False
                        break
                if not highest:
                    continue
                if count == len(found):
                    found = np.concatenate((found, np.empty((count, 3), np.int64)))
                found[count, 0], found[count, 1], found[count, 2] = x, y, z
                count += 1
    return found[:count].copy()


@compiled
def _centres(heat: Any, voxels: Any, reach: Any) -> Any:
    """Where the centre of mass lies, counted from the near corner of each voxel."""
    places = np.empty(voxels.shape, np.float64)
    for index in range(len(voxels)):
        x, y, z = voxels[index]
        total = np.int64(0)
        moments = np.zeros(3, np.int64)
        for i in range(max(x - reach[0], 0), min(x + reach[0] + 1, heat.shape[0])):
            for j in range(max(y - reach[1], 0), min(y + reach[1] + 1, heat.shape[1])):
                for k in range(max(z - reach[2], 0), min(z + reach[2] + 1, heat.shape[2])):
                    value = np.int64(heat[i, j, k])
                    total += value
                    moments[0] += value * (2 * (i - x) + 1)
                    moments[1] += value * (2 * (j - y) + 1)
                    moments[2] += value * (2 * (k - z) + 1)
        for axis in range(3):
            places[index, axis] = moments[axis] / (2 * total)
    return places
