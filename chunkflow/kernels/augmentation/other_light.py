"""Grey values of an image as another microscope might have given them, the same whichever box of it is read.

1. What was imaged is brighter or darker by a gain, and lies on an offset.
2. Light falls along each axis, from the beginning of the volume to its end.
3. Noise follows from a hash of the key and the absolute voxel: no cut and no order changes it.

Voxels of 0 were not imaged, and stay so.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled
from chunkflow.kernels.hashing import bell, hash_of

Strengths = tuple[float, float, float, float]
"""Gain; offset and standard deviation of noise in grey values; share of light lost to the end of an axis."""
_SPREAD = 148
"""The deviation of `bell`."""


def lit_anew(
    image: NDArray[Any],
    start: Sequence[int],
    volume: tuple[Sequence[int], Sequence[int]],
    strengths: Strengths,
    key: int,
) -> NDArray[Any]:
    """The image (x, y, z) from a voxel of a volume (its start and size) on, in its own type and range."""
    made = np.empty(image.shape, np.float64, order="F")
    first, size = (np.array(corner, np.int64) for corner in volume)
    of_key = np.uint64(hash_of(np.uint64(key), 0))
    _expose(made, image, np.array(start, np.int64), first, size, strengths, of_key)
    if image.dtype.kind in "ui":
        known = np.iinfo(image.dtype)
        np.rint(made, out=made)
        made.clip(known.min, known.max, out=made)
    return made.astype(image.dtype)


@compiled
def _expose(made: Any, image: Any, corner: Any, first: Any, size: Any, strengths: Any, key: Any) -> None:
    """Gain, falling light, offset and noise, in this order."""
    gain, offset, noise, slope = strengths
    nx, ny, nz = image.shape
    for k in range(nz):
        z = corner[2] + k
        of_plane = hash_of(key, z)
        light_of_plane = gain * _light(z - first[2], size[2], slope)
        for j in range(ny):
            y = corner[1] + j
            of_row = hash_of(of_plane, y)
            light_of_row = light_of_plane * _light(y - first[1], size[1], slope)
            for i in range(nx):
                value = float(image[i, j, k])
                if value == 0:
                    made[i, j, k] = 0
                    continue
                x = corner[0] + i
                light = light_of_row * _light(x - first[0], size[0], slope)
                made[i, j, k] = value * light + offset + noise * bell(hash_of(of_row, x)) / _SPREAD


@compiled
def _light(place: Any, size: Any, slope: Any) -> Any:
    """The share of light that is left at a voxel: from 1 + slope to 1 - slope along an axis."""
    return 1.0 + slope * (1.0 - (2.0 * place + 1.0) / size)
