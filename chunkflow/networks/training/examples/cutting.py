"""Where examples are cut, how they are stretched and turned, and how their grey values are varied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Box, Vec, VoxelSize, vec
from chunkflow.kernels.augmentation.elastic import draw_field
from chunkflow.kernels.augmentation.grey_values import (
    blurred,
    noisy,
    relit,
    with_section_moved,
    without_section,
)
from chunkflow.kernels.augmentation.turning import Turn
from chunkflow.networks.training.recipe import Augmentation

FURTHEST = 10
"""Voxels that a section is moved by, at most, along each axis."""
WIDEST = 3.0
"""Standard deviations of a displacement, beyond which it is clipped."""
Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Cut:
    """Where an example is cut, how it is stretched, and then turned: the same for its image and its truth."""

    box: Box
    margin: Vec
    field: Array | None
    turn: Turn

    @classmethod
    def draw(
        cls, random: np.random.Generator, box: Box, turn: Turn, voxel: VoxelSize, augment: Augmentation
    ) -> Cut:
        """A cut of this box, stretched as the recipe asks."""
        margin = vec(ceil(WIDEST * augment.elastic * 1000 / size) for size in voxel)
        if not any(margin):
            return cls(box, margin, None, turn)
        return cls(box, margin, draw_field(random, box.size, voxel, augment.spacing, augment.elastic), turn)

    @property
    def window(self) -> Box:
        """What must be read for it."""
        return self.box.grow(self.margin)

    def apply(self, array: Array, warp: Callable[[Array, Array, Vec], Array]) -> Array:
        """An array over the window (channel, x, y, z) as the example has it."""
        return self.turn.apply(array if self.field is None else warp(array, self.field, self.margin))


def varied(image: Floats, augment: Augmentation, random: np.random.Generator) -> Floats:
    """The image (channel, x, y, z) as another microscope might have given it; the truth stays where it is."""
    image = relit(image, random, augment.gain, augment.offset, augment.slope)
    if augment.blur:
        image = blurred(image, random.uniform(0, augment.blur, 3).tolist())
    if augment.noise:
        image = noisy(image, random, random.uniform(0, augment.noise))
    if random.random() < augment.missing:
        image = without_section(image, int(random.integers(image.shape[3])))
    if random.random() < augment.shifted:
        x, y = (int(step) for step in random.integers(-FURTHEST, FURTHEST + 1, 2))
        image = with_section_moved(image, int(random.integers(image.shape[3])), (x, y))
    return image
