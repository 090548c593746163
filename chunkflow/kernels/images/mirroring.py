"""What lies beyond an image: its mirror image, where the edge is seen twice."""

import numpy as np
from numpy.typing import NDArray


def mirrored(start: int, stop: int, size: int) -> NDArray[np.int64]:
    """Where the voxels from `start` up to `stop` are seen among `size` voxels, as between two mirrors."""
    index = np.arange(start, stop, dtype=np.int64) % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)
