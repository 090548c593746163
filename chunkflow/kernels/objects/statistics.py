"""What the sums over objects say: centres, and the shape of the distribution of an image's values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.objects.moments import SHAPE_COLUMNS, Columns


def value_statistics(columns: Columns, image: int, low: float = 0.0, step: float = 1.0) -> Columns:
    """Mean, std, skew, kurtosis, min and max of image number `image`, each rounded once to float32.

    Population moments, excess kurtosis, 0 for a constant object. All is whole numbers of any size until one
    division, and one root, which every CPU rounds alike.
    """
    n = columns["volume"].astype(object)
    s1 = columns[f"{image}:s1"].astype(object)
    s2, s3, s4 = (
        columns[f"{image}:s{power}_low"].astype(object)
        + columns[f"{image}:s{power}_high"].astype(object) * 2**32
        for power in (2, 3, 4)
    )
    second = n * s2 - s1 * s1
    third = n * n * s3 - 3 * n * s1 * s2 + 2 * s1 * s1 * s1
    fourth = n * n * n * s4 - 4 * n * n * s1 * s3 + 6 * n * s1 * s1 * s2 - 3 * s1 * s1 * s1 * s1
    divisor = np.where(second == 0, 1, second)
    skew = np.sqrt(_floats(third * third / divisor**3)) * np.where(third < 0, -1.0, 1.0)
    return {
        "mean": (low + step * _floats(s1 / n)).astype(np.float32),
        "std": (step * np.sqrt(_floats(second / (n * n)))).astype(np.float32),
        "skew": np.where(second == 0, 0.0, skew).astype(np.float32),
        "kurtosis": _floats(np.where(second == 0, 0, fourth - 3 * second**2) / divisor**2).astype(np.float32),
        "min": (low + step * columns[f"{image}:min"].astype(np.float64)).astype(np.float32),
        "max": (low + step * columns[f"{image}:max"].astype(np.float64)).astype(np.float32),
    }


def centroids(columns: Columns, start: Sequence[int]) -> NDArray[np.float64]:
    """Centres of mass (rows of x, y, z), that of voxel i being i + 0.5; `start` is where counting began."""
    n = columns["volume"].astype(object)
    axes = [
        _floats((2 * columns[name].astype(object) + n * (2 * first + 1)) / (2 * n))
        for name, first in zip(SHAPE_COLUMNS[1:], start, strict=True)
    ]
    return np.stack(axes, axis=1)


def _floats(values: NDArray[Any]) -> NDArray[np.float64]:
    return values.astype(np.float64)
