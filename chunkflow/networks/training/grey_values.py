"""Grey values of examples, varied as a recipe asks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chunkflow.kernels.augmentation.grey_values import (
    blurred,
    noisy,
    relit,
    with_section_moved,
    without_section,
)
from chunkflow.networks.training.recipe import Augmentation

FURTHEST = 10
"""Voxels that a section is moved by, at most, along each axis."""
Floats = npt.NDArray[np.float32]


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
