"""The peaks of a response: where it is higher than at all 26 neighbours, and how high."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled


def find_peaks(
    response: NDArray[np.float32], core: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Places (rows of x, y, z within the window) and heights of the positive local maxima within `core`
    (start, stop along x, y, z).

    Of equal neighbours the one of the larger linear index is the peak. Beyond the window nothing is higher.
    """
    heights = np.ascontiguousarray(response.T)
    return _list_peaks(heights, np.array(core, dtype=np.int64))  # type: ignore[no-any-return]


@compiled
def _list_peaks(heights: Any, core: Any) -> Any:
    places = np.empty((1024, 3), np.int64)
    found = np.empty(1024, np.float32)
    count = 0
    for z in range(core[2, 0], core[2, 1]):
        for y in range(core[1, 0], core[1, 1]):
            for x in range(core[0, 0], core[0, 1]):
                value = heights[z, y, x]
                if not value > 0 or not _is_peak(heights, z, y, x, value):
                    continue
                if count == len(found):
                    found = np.concatenate((found, np.empty(count, np.float32)))
                    places = np.concatenate((places, np.empty((count, 3), np.int64)))
                found[count] = value
                places[count, 0], places[count, 1], places[count, 2] = x, y, z
                count += 1
    return places[:count].copy(), found[:count].copy()


@compiled
def _is_peak(heights: Any, z: int, y: int, x: int, value: Any) -> Any:
    depth, height, width = heights.shape
    for at_z in range(max(z - 1, 0), min(z + 2, depth)):
        for at_y in range(max(y - 1, 0), min(y + 2, height)):
            for at_x in range(max(x - 1, 0), min(x + 2, width)):
                other = heights[at_z, at_y, at_x]
                if other > value:
                    return False
                if other == value and (at_z, at_y, at_x) > (z, y, x):
                    return False
    return True
