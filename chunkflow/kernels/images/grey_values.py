"""Statistics of a sample of grey values, the same on every CPU, and values in their units.

Percentiles pick values, or lie between two. Sums of small integers are exact; other numbers are added one
after the other, counted from one of them, so that a sample of one grey value has no spread.
"""

from collections.abc import Sequence
from math import floor, fsum, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Array = NDArray[Any]


def percentiles_of(values: Array, percents: Sequence[float]) -> list[float]:
    """The percentiles of all values, between the two nearest where they fall between; 0 of none."""
    last = values.size - 1
    if last < 0:
        return [0.0 for _ in percents]
    places = [percent / 100 * last for percent in percents]
    below = [min(floor(place), last) for place in places]
    ordered = np.partition(values, sorted({*below, *(min(at + 1, last) for at in below)}), axis=None)
    found = []
    for place, at in zip(places, below, strict=True):
        low, high = float(ordered[at]), float(ordered[min(at + 1, last)])
        found.append(low + (place - at) * (high - low))
    return found


def mean_and_deviation(parts: Sequence[Array]) -> tuple[float, float]:
    """The mean and the standard deviation of all values of several arrays; 0 of none."""
    count = sum(part.size for part in parts)
    if not count:
        return 0.0, 0.0
    if all(part.dtype.kind in "iu" and part.dtype.itemsize <= 2 for part in parts):
        return _of_integers(parts, count)
    origin = np.float64(next(part.flat[0] for part in parts if part.size))
    shifted = [part.ravel(order="F").astype(np.float64) - origin for part in parts]
    mean = _sum(shifted) / count
    variance = _sum([(part - mean) ** 2 for part in shifted]) / count
    return float(origin + mean), sqrt(variance)


def in_units(values: Array, origin: float, unit: float) -> NDArray[np.float32]:
    """`values` counted from `origin` in units of `unit`, as a new array in Fortran order."""
    planes = np.ascontiguousarray(values.T)
    out = np.empty(planes.shape, np.float32)
    _in_units(planes.reshape(-1), origin, unit, out.reshape(-1))
    return out.T


def _of_integers(parts: Sequence[Array], count: int) -> tuple[float, float]:
    wide = [part.astype(np.int64) for part in parts]
    values = sum(int(part.sum()) for part in wide)
    squares = sum(int((part * part).sum()) for part in wide)
    return values / count, sqrt((count * squares - values * values) / count**2)


def _sum(parts: Sequence[Array]) -> float:
    return fsum(float(np.cumsum(part)[-1]) for part in parts if part.size)


@compiled
def _in_units(values: Any, origin: float, unit: float, out: Any) -> None:
    for i in range(len(values)):
        out[i] = np.float32((np.float64(values[i]) - origin) / unit)
