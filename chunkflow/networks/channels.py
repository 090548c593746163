"""Channels that a network takes: images read, resampled, normalised, and mirrored beyond a small volume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from chunkflow.chunk import Array, Chunk
from chunkflow.geometry import Box, around
from chunkflow.kernels.images.mirroring import mirrored
from chunkflow.networks.document import InputChannel, NetworkInput
from chunkflow.networks.normalisation import sample_boxes
from chunkflow.networks.space import Space

Numbers = Mapping[str, float]


def box_read(given: NetworkInput, space: Space, window: Box) -> Box:
    """The voxels of the images that the channels over `window` come from."""
    inside = window.clip(space.volume)
    boxes = [c.normalise.window(inside, space.volume, space.voxel_size) for c in given.channels]
    return space.read(around(boxes))


def boxes_sampled(given: NetworkInput, space: Space) -> list[Box]:
    """The voxels of the images from which the numbers of all channels are decided."""
    return [box_read(given, space, box) for box in sample_boxes(space.volume)]


def decide_numbers(
    given: NetworkInput, space: Space, samples: Iterable[Sequence[Chunk]]
) -> list[dict[str, float]]:
    """The numbers by which each channel is normalised, from all images over each of `boxes_sampled`."""
    boxes, read = sample_boxes(space.volume), list(samples)
    return [_decided(channel, space, zip(boxes, read, strict=True)) for channel in given.channels]


def _decided(
    channel: InputChannel, space: Space, samples: Iterable[tuple[Box, Sequence[Chunk]]]
) -> dict[str, float]:
    def sampled() -> Iterator[tuple[Array, Box, Box]]:
        for box, images in samples:
            window = channel.normalise.window(box, space.volume, space.voxel_size)
            yield _voxels(channel, space, images, window), window, box

    return channel.normalise.decide(sampled(), space.volume, space.voxel_size)


def channels_over(
    given: NetworkInput, space: Space, numbers: Sequence[Numbers], images: Sequence[Chunk], window: Box
) -> npt.NDArray[np.float32]:
    """All channels over `window` (channel, x, y, z), from images over `box_read`."""
    inside = window.clip(space.volume)
    made = np.empty((len(given.channels), *inside.size), np.float32)
    for index, (channel, decided) in enumerate(zip(given.channels, numbers, strict=True)):
        box = channel.normalise.window(inside, space.volume, space.voxel_size)
        image = _voxels(channel, space, images, box)
        made[index] = channel.normalise.apply(image, box, inside, space.volume, space.voxel_size, decided)
    return made if inside == window else _mirrored(made, window, inside)


def _voxels(channel: InputChannel, space: Space, images: Sequence[Chunk], box: Box) -> Array:
    """One channel of an image in the network's voxels."""
    chunk = images[channel.image]
    array = chunk.array if chunk.array.ndim == 3 else chunk.array[..., channel.channel]
    return space.image(array, chunk.box, box)


def _mirrored(made: npt.NDArray[np.float32], window: Box, inside: Box) -> npt.NDArray[np.float32]:
    """What lies beyond `inside`, which is then all there is along that axis, is its mirror image; the edge is
    seen twice."""
    for axis in range(3):
        size, first = inside.size[axis], inside.start[axis]
        index = mirrored(window.start[axis] - first, window.stop[axis] - first, size)
        if window.size[axis] != size:
            made = np.take(made, index, axis + 1)
    return np.ascontiguousarray(made)
