"""What filters for blobs answer to an image, and to its noise, in a fixed sample of the whole volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.chunk import Chunk
from chunkflow.geometry import Box, Vec, VoxelSize, vec
from chunkflow.kernels.images.gaussian import blob_sigma, difference_of_gaussians, filter_radius
from chunkflow.kernels.images.noise import noise_level, response_spread

SAMPLE_BOXES = 4
"""Along each axis, at most."""
SAMPLE_SIDE = 64
NOISE_SIDE = 32


def channels(image: Chunk) -> Iterator[npt.NDArray[Any]]:
    if image.array.ndim == 3:
        yield image.array
    else:
        yield from (image.array[..., channel] for channel in range(image.array.shape[3]))


def reach(diameters: Sequence[float], voxel_size: VoxelSize) -> Vec:
    """How far around a voxel the responses for blobs of these diameters (micrometres) depend on the image."""
    return filter_radius(blob_sigma(max(diameters) * 1000, voxel_size)) if diameters else (0, 0, 0)


def responses(
    array: npt.NDArray[Any], image: Chunk, box: Box, diameters: Sequence[float]
) -> Iterator[npt.NDArray[np.float32]]:
    """The response within a box for each diameter, to one channel of an image that reaches further."""
    x, y, z = ((part.start, part.stop) for part in box.slices(image.box.start))
    for diameter in diameters:
        response = difference_of_gaussians(array, blob_sigma(diameter * 1000, image.voxel_size), (x, y, z))
        if array.dtype.kind == "f" and np.isnan(response).any():
            raise ValueError(f"the image has voxels that are not numbers within {image.box}")
        yield response


def spreads(images: Sequence[Chunk], box: Box, diameters: Sequence[float]) -> list[list[float]]:
    """How widely responses spread within a box: a list a channel, in it a number a diameter."""
    return [
        [response_spread(response) for response in responses(array, image, box, diameters)]
        for image in images
        for array in channels(image)
    ]


def noise_levels(of_boxes: Sequence[list[list[float]]]) -> list[list[float]]:
    """The noise of each channel and diameter, from the spreads of all boxes."""
    table = np.array(of_boxes)
    return [[noise_level(spread) for spread in channel.T.tolist()] for channel in table.transpose(1, 0, 2)]


def sample_boxes(volume: Box) -> list[Box]:
    """Boxes spread evenly over the whole volume."""
    counts = vec(max(1, min(SAMPLE_BOXES, n // SAMPLE_SIDE)) for n in volume.size)
    boxes = []
    for index in np.ndindex(*counts):
        start = vec(
            a + (n - min(n, SAMPLE_SIDE)) * (2 * i + 1) // (2 * count)
            for a, n, i, count in zip(volume.start, volume.size, index, counts, strict=True)
        )
        boxes.append(Box.of_size(vec(min(n, SAMPLE_SIDE) for n in volume.size), start))
    return boxes


def middle(box: Box) -> Box:
    """The part of a box of the sample that noise is looked at in."""
    size = vec(min(n, NOISE_SIDE) for n in box.size)
    start = vec(a + (n - m) // 2 for a, n, m in zip(box.start, box.size, size, strict=True))
    return Box.of_size(size, start)
