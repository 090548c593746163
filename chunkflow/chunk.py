"""A chunk: an array, the box it fills, and the size of its voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Box, VoxelSize

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Voxels x, y, z (and channel, where there are several) of one box; voxel size in nanometres."""

    array: Array
    box: Box
    voxel_size: VoxelSize

    def __post_init__(self) -> None:
        if self.array.shape[:3] != self.box.size:
            raise ValueError(f"an array of shape {self.array.shape} does not fill the box {self.box}")

    def like(self, array: Array) -> Chunk:
        """Another array over the same box."""
        return Chunk(array, self.box, self.voxel_size)

    def crop(self, box: Box) -> Chunk:
        """The part of this chunk within `box`, as a view."""
        inside = box.clip(self.box)
        return Chunk(self.array[inside.slices(self.box.start)], inside, self.voxel_size)

    @classmethod
    def zeros(cls, box: Box, voxel_size: VoxelSize, dtype: str, channels: int = 1) -> Chunk:
        shape = box.size if channels == 1 else (*box.size, channels)
        return cls(np.zeros(shape, dtype=dtype, order="F"), box, voxel_size)
