"""A task of one's own: a median filter, which takes specks away and keeps edges."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from scipy.ndimage import median_filter

from chunkflow.chunk import Chunk
from chunkflow.geometry import Vec, VoxelSize
from chunkflow.task import Cell, Image, Out, Task


class MedianFilter(Task):
    """Replace every voxel of `image` by the median of the voxels around it."""

    image: Image
    smooth: Image = Out("the filtered image")
    radius: float = Field(1.5, gt=0, description="how far around a voxel, micrometres")

    def halo(self, voxel_size: VoxelSize) -> Sequence[Vec]:
        """How many voxels around its own a chunk must see; voxel sizes are in nanometres, x, y, z."""
        x, y, z = (round(self.radius * 1000 / length) for length in voxel_size)
        return [(x, y, z)]

    def map(self, cell: Cell, image: Chunk) -> Chunk:
        """`image` covers the cell and its halo, as far as the volume goes; what is returned is cropped."""
        x, y, z = self.halo(cell.voxel_size)[0]
        size = (2 * x + 1, 2 * y + 1, 2 * z + 1)
        channels = (1,) * (image.array.ndim - 3)
        return image.like(median_filter(image.array, size + channels))
