"""How uneven an image is around each voxel: the standard deviation within a box, from exact sums.

1. A plane at a time: the sums of values and of squares over the planes of the box are kept up to date.
2. Their sums over the box's rows and columns are differences of running sums.
3. The box ends where the image ends.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sums = NDArray[np.uint64]
Span = tuple[int, int]


def surround_std(image: NDArray[Any], radius: Sequence[int], keep: Sequence[Span]) -> NDArray[np.float32]:
    """The standard deviation within `radius` voxels to either side of each voxel of the part `keep` (start,
    stop along x, y, z) of an image, which is of unsigned integers of at most 16 bits."""
    planes = image.T
    depth = planes.shape[0]
    x, y = (_ends(span, r, size) for span, r, size in zip(keep[:2], radius[:2], image.shape[:2], strict=True))
    area = np.outer(y[1] - y[0], x[1] - x[0])
    out = np.empty([stop - start for start, stop in keep], np.float32, order="F")
    values, squares = (np.zeros(planes.shape[1:], np.uint64) for _ in range(2))
    low = high = max(keep[2][0] - radius[2], 0)
    for z in range(*keep[2]):
        while high < min(z + radius[2] + 1, depth):
            plane = planes[high].astype(np.uint64)
            values, squares, high = values + plane, squares + plane * plane, high + 1
        while low < z - radius[2]:
            plane = planes[low].astype(np.uint64)
            values, squares, low = values - plane, squares - plane * plane, low + 1
        count = area * float(high - low)
        mean = _box_sums(values, x, y) / count
        variance = _box_sums(squares, x, y) / count - mean * mean
        out[:, :, z - keep[2][0]] = np.sqrt(np.maximum(variance, 0.0)).T
    return out


def _ends(span: Span, radius: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the box around each place begins and stops."""
    places = np.arange(*span)
    return np.maximum(places - radius, 0), np.minimum(places + radius + 1, size)


def _box_sums(
    sums: Sums,
    x: tuple[NDArray[np.int64], NDArray[np.int64]],
    y: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.float64]:
    running = np.zeros((sums.shape[0] + 1, sums.shape[1] + 1), np.uint64)
    running[1:, 1:] = sums.cumsum(axis=0).cumsum(axis=1)
    rows = running[y[1]] - running[y[0]]
    return np.asarray(rows[:, x[1]] - rows[:, x[0]], np.float64)
