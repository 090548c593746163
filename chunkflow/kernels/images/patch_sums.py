"""Sums of overlapping patches in whole numbers, so that their order does not matter."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Sums = NDArray[np.uint32]
FULL = 65535
"""The whole number that stands for 1 in what a network gives."""


@compiled
def add_patch(
    sums: Sums, weights: Sums, patch: NDArray[np.uint16], bump: NDArray[np.uint16], place: Any
) -> None:
    """Add a patch, weighted, to the sums of a cell.

    `sums` and `patch` are channel, x, y, z; `place` is where the patch begins in the cell, which may be
    before its first voxel.
    """
    px, py, pz = place
    _, nx, ny, nz = sums.shape
    for channel in range(patch.shape[0]):
        for x in range(max(0, px), min(nx, px + patch.shape[1])):
            for y in range(max(0, py), min(ny, py + patch.shape[2])):
                for z in range(max(0, pz), min(nz, pz + patch.shape[3])):
                    weight = np.uint32(bump[x - px, y - py, z - pz])
                    sums[channel, x, y, z] += weight * np.uint32(patch[channel, x - px, y - py, z - pz])
                    if channel == 0:
                        weights[x, y, z] += weight


@compiled
def means_in_steps(sums: Sums, weights: Sums, steps: int, out: Any) -> None:
    """Divide the sums by their weights once, and round to 0 to `steps`, into `out` (x, y, z, channel)."""
    factor = np.uint64(2 * steps)
    for channel in range(sums.shape[0]):
        for z in range(sums.shape[3]):
            for y in range(sums.shape[2]):
                for x in range(sums.shape[1]):
                    whole = np.uint64(weights[x, y, z]) * np.uint64(FULL)
                    if whole:
                        value = (factor * np.uint64(sums[channel, x, y, z]) + whole) // (np.uint64(2) * whole)
                        out[x, y, z, channel] = value


@compiled
def means_in_range(sums: Sums, weights: Sums, low: Any, high: Any, out: Any) -> None:
    """Divide the sums by their weights once, each channel from `low` to `high`, into float32."""
    for channel in range(sums.shape[0]):
        span = high[channel] - low[channel]
        for z in range(sums.shape[3]):
            for y in range(sums.shape[2]):
                for x in range(sums.shape[1]):
                    whole = np.float64(weights[x, y, z]) * FULL
                    if whole:
                        mean = np.float64(sums[channel, x, y, z]) / whole
                        out[x, y, z, channel] = np.float32(low[channel] + span * mean)
