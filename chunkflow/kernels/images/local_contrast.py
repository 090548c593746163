"""Local contrast: the logarithm of an image less its Gaussian background.

The logarithm is made of sums, products and quotients alone, each rounded as IEEE says, so that every CPU has
the same, and an image of floats the same as one of integers. Integers of 8 and 16 bits look it up in a table.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled
from chunkflow.kernels.images.gaussian import Span, gaussian

Floats = NDArray[np.float32]

LN_2 = 0.6931471805599453
ROOT_HALF = 0.7071067811865476
TERMS = 9  # of the series: the first left out is below 1e-15


def local_contrast(image: NDArray[Any], sigma: Sequence[float], keep: Sequence[Span]) -> Floats:
    """The logarithm of `image` less a Gaussian of it, for the part `keep` of it.

    `keep` is starts and stops along x, y, z. What lies beyond the image is its mirror image, so a side at
    which the volume goes on must lie at least `gaussian_radius` beyond `keep`.
    """
    logs = logarithms(image)
    background = gaussian(logs, sigma, keep)
    return np.subtract(logs[tuple(slice(*span) for span in keep)], background, out=background)


def logarithms(image: NDArray[Any]) -> Floats:
    """log(1 + x) of each grey value above 0, and 0 of the others, in Fortran order."""
    planes = np.ascontiguousarray(image.T)
    out = np.empty(planes.shape, np.float32)
    if planes.dtype.kind == "u" and planes.dtype.itemsize <= 2:
        table = np.empty(np.iinfo(planes.dtype).max + 1, np.float32)
        _log1p(np.arange(len(table)), table)
        _look_up(planes.reshape(-1), table, out.reshape(-1))
    else:
        _log1p(planes.reshape(-1), out.reshape(-1))
    return out.T


@compiled
def _look_up(values: Any, table: Any, out: Any) -> None:
    for i in range(len(values)):
        out[i] = table[values[i]]


@compiled
def _log1p(values: Any, out: Any) -> None:
    """log y = e log 2 + log m for y = m 2^e; log m = 2 (s + s³/3 + s⁵/5 + …) for s = (m - 1) / (m + 1)."""
    for i in range(len(values)):
        x = max(np.float64(values[i]), np.float64(0.0))
        y = 1.0 + x
        mantissa, exponent = math.frexp(y)
        if mantissa < ROOT_HALF:
            mantissa, exponent = 2.0 * mantissa, exponent - 1
        s = (mantissa - 1.0) / (mantissa + 1.0)
        series = 0.0
        for k in range(TERMS - 1, -1, -1):
            series = series * (s * s) + 1.0 / (2 * k + 1)
        lost = (x - (y - 1.0)) / y  # of a small x, where 1 + x is rounded
        out[i] = np.float32(exponent * LN_2 + (2.0 * s * series + lost))
