"""Weighted means of images that overlap: sums in doubles, in the order in which they are added."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chunkflow.kernels.compiled import compiled

Doubles = npt.NDArray[np.float64]


@compiled
def add_weighted(
    total: Doubles, weight: Doubles, voxels: npt.NDArray[np.generic], along_x: Doubles, along_y: Doubles
) -> None:
    """Add voxels x, y, z, each weighted by where it lies along x and y."""
    for i in range(voxels.shape[0]):
        for j in range(voxels.shape[1]):
            own = along_x[i] * along_y[j]
            for k in range(voxels.shape[2]):
                total[i, j, k] += own * voxels[i, j, k]
                weight[i, j, k] += own


def divided(total: Doubles, weight: Doubles, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """The means, 0 where nothing was added; whole numbers are rounded, and held within their type."""
    means = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return means.astype(kind)
    limits = np.iinfo(kind)
    return np.clip(np.rint(means), limits.min, limits.max).astype(kind)
