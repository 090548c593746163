"""Division of an image by a smooth field of larger voxels, the same for a voxel in whatever chunk it lies.

1. A voxel's place in the field comes of its centre in space, counted from absolute voxel 0.
2. The field is kept as a logarithm. Its exponential is a series of fixed arithmetic, as libraries differ in
   the last digit, and so do loops that a compiler has made wider.
3. It is interpolated along z, y, then x; the quotient is rounded once, half up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Array = NDArray[Any]
Doubles = NDArray[np.float64]
Places = tuple[NDArray[np.int64], NDArray[np.int64], Doubles]
"""For each voxel along an axis the two of the field that it lies between, and the share of the second."""

TERMS = 18
"""Of the series: for |x| <= ln 2 / 2 what follows is less than the last digit of a double."""
_LOG2_E = 1.4426950408889634
_LN2_HIGH = 0.693147180369123816490
_LN2_LOW = 1.90821492927058770002e-10
"""ln 2 in two parts, the first of which has trailing zeros, so that its small multiples are exact."""


def field_range(start: int, stop: int, size: float, field_size: float) -> tuple[int, int]:
    """The voxels of a field between whose centres those of the voxels from `start` to `stop` lie."""
    ends = _centres(start, stop, size, field_size)[[0, -1]]
    return int(np.floor(ends[0])), int(np.floor(ends[1])) + 2


def field_places(
    start: int, stop: int, size: float, field_size: float, window: tuple[int, int], field: tuple[int, int]
) -> Places:
    """Places of the voxels from `start` to `stop` in a window (first, last + 1) of a field.

    Beyond the centres of the field's own first and last voxel it goes on as it is there.
    """
    centres = _centres(start, stop, size, field_size)
    lower = np.floor(centres)
    share = centres - lower
    first, last = field[0], field[1] - 1
    low, high = (np.clip(lower.astype(np.int64) + n, first, last) - window[0] for n in (0, 1))
    return low, high, share


def _centres(start: int, stop: int, size: float, field_size: float) -> Doubles:
    """Centres of voxels, in voxels of the field from the centre of its voxel 0."""
    return (np.arange(start, stop, dtype=np.float64) + 0.5) * (size / field_size) - 0.5


def divide(image: Array, log_field: Array, places: tuple[Places, Places, Places], dark: float) -> Array:
    """Divide an image (x, y, z, and channel if there are several) by the exponential of a field.

    `dark` is taken off before, and put back after. Whole numbers are rounded half up, and held within their
    type.
    """
    divided = np.empty(image.shape, image.dtype, order="F")
    sources = image[..., np.newaxis] if image.ndim == 3 else image
    targets = divided[..., np.newaxis] if image.ndim == 3 else divided
    field = np.ascontiguousarray(log_field.T, np.float64)
    _exponential(field.reshape(-1))
    low: Any = 0
    high: Any = 0
    whole = image.dtype.kind in "iu"
    if whole:
        low, high = np.iinfo(image.dtype).min, np.iinfo(image.dtype).max
    ends = np.array([low, high], image.dtype)
    for channel in range(sources.shape[3]):
        source = np.asfortranarray(sources[..., channel]).T
        _divide(source, targets[..., channel].T, field, places, float(dark), whole, ends)
    return divided


@compiled
def _exponential(values: Doubles) -> None:
    """Replace each value by its exponential."""
    for n in range(len(values)):
        power = np.floor(values[n] * _LOG2_E + 0.5)
        rest = (values[n] - power * _LN2_HIGH) - power * _LN2_LOW
        total = 1.0
        for k in range(TERMS, 0, -1):
            total = 1.0 + total * rest / k
        factor = 2.0 if power > 0 else 0.5
        for _ in range(int(abs(power))):
            total *= factor
        values[n] = total


@compiled
def _divide(
    source: Array,
    target: Array,
    field: Doubles,
    places: tuple[Places, Places, Places],
    dark: float,
    whole: bool,
    ends: Array,
) -> None:
    """Loop over z, y, x, which is the order in memory; a row of the field is interpolated once a row."""
    along_x, along_y, along_z = places
    row = np.empty(field.shape[2], np.float64)
    low, high = np.float64(ends[0]), np.float64(ends[1])
    for z in range(source.shape[0]):
        z0, z1, dz = along_z[0][z], along_z[1][z], along_z[2][z]
        for y in range(source.shape[1]):
            y0, y1, dy = along_y[0][y], along_y[1][y], along_y[2][y]
            for i in range(len(row)):
                near = field[z0, y0, i] + (field[z1, y0, i] - field[z0, y0, i]) * dz
                far = field[z0, y1, i] + (field[z1, y1, i] - field[z0, y1, i]) * dz
                row[i] = near + (far - near) * dy
            for x in range(source.shape[2]):
                left, right = row[along_x[0][x]], row[along_x[1][x]]
                light = left + (right - left) * along_x[2][x]
                value = (np.float64(source[z, y, x]) - dark) / light + dark
                if not whole:
                    target[z, y, x] = value
                    continue
                value = np.floor(value + 0.5)
                if value >= high:
                    target[z, y, x] = ends[1]
                elif value <= low:
                    target[z, y, x] = ends[0]
                else:
                    target[z, y, x] = value
