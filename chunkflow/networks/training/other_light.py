"""Images as another microscope might have given them, by which a network is tested for the next brain.

They are read as they are, and lit anew before anything is normalised: so the numbers of normalisation are
decided from the copy, as they would be in another brain. Strengths count from the image itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from chunkflow.chunk import Array, Chunk
from chunkflow.data.info import VoxelsInfo
from chunkflow.data.volume import Volume
from chunkflow.geometry import Box
from chunkflow.kernels.augmentation.other_light import Strengths, lit_anew
from chunkflow.kernels.images.noise import noise_level, response_spread
from chunkflow.networks.normalisation import NORMAL_SPREAD, sample_boxes


@dataclass(frozen=True)
class OtherLight:
    """How another light differs from that of an image: by default darker, flatter, uneven and noisier."""

    gain: float = 0.6
    """What is left of grey values."""
    offset: float = 0.2
    """Added to all voxels, in shares of the background."""
    slope: float = 0.2
    """The share of light that is lost from the middle of each axis to its end, and won at its beginning."""
    noise: float = 0.5
    """Standard deviation of the noise that is added, in units of the image's own noise."""


class RelitVolume(Volume):
    """A layer read in another light."""

    def __init__(self, info: VoxelsInfo, light: OtherLight, number: int) -> None:
        super().__init__(info)
        self._light = light
        sampled = []
        for box in sample_boxes(info.volume):
            sampled.append([_level_and_noise(channel) for channel in _channels(super().read(box))])
        self._keys = [number * info.channels + channel for channel in range(info.channels)]
        self._strengths = [self._of_channel(found) for found in zip(*sampled, strict=True)]

    def read(self, box: Box) -> Chunk:
        """The voxels of `box` in another light: each a function of its place and its grey value alone."""
        chunk = super().read(box)
        volume = (self.info.volume.start, self.info.volume.size)
        made = [
            lit_anew(one, box.start, volume, strengths, key)
            for one, strengths, key in zip(_channels(chunk), self._strengths, self._keys, strict=True)
        ]
        return chunk.like(made[0] if chunk.array.ndim == 3 else np.stack(made, axis=3))

    def _of_channel(self, found: Sequence[tuple[float, float]]) -> Strengths:
        """Gain, offset, noise and slope of a channel, from what each box of the sample has."""
        levels, spreads = zip(*found, strict=True)
        background = float(np.median([level for level in levels if level] or [0.0]))
        noise = noise_level(spreads) if any(spreads) else 0.0
        light = self._light
        return light.gain, light.offset * background, light.noise * noise, light.slope


def _channels(chunk: Chunk) -> list[Array]:
    array = chunk.array
    return [array] if array.ndim == 3 else [array[..., channel] for channel in range(array.shape[3])]


def _level_and_noise(array: Array) -> tuple[float, float]:
    """The median of what was imaged, and the noise: how much a voxel differs from the next one along x."""
    imaged = array[array != 0]
    if not imaged.size:
        return 0.0, 0.0
    both = (array[1:] != 0) & (array[:-1] != 0)
    steps = array[1:][both].astype(np.float64) - array[:-1][both]
    spread = NORMAL_SPREAD * response_spread(steps) / sqrt(2) if steps.size else 0.0
    return float(np.median(imaged)), spread
