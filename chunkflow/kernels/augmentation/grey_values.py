"""Grey values of patches (channel, x, y, z), varied: light, blur, noise, sections missing or out of place."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

Floats = npt.NDArray[np.float32]


def relit(image: Floats, random: np.random.Generator, gain: float, offset: float, slope: float) -> Floats:
    """The image in other light, drawn at random.

    Its contrast about its mean is multiplied by 1 / `gain` to `gain`, evenly by the logarithm; its brightness
    is moved by up to `offset`, and by up to `slope` more at one end than at the other.
    """
    factor = np.float32(np.exp(random.uniform(-log(gain), log(gain))))
    moved = np.float32(random.uniform(-offset, offset))
    direction = random.standard_normal(3)
    steep = random.uniform(0, slope) * direction / np.linalg.norm(direction)
    lit = (image - image.mean()) * factor + image.mean() + moved
    if slope:
        axes = [along * np.linspace(-0.5, 0.5, n) for along, n in zip(steep, image.shape[1:], strict=True)]
        lit += (axes[0][:, None, None] + axes[1][:, None] + axes[2]).astype(np.float32)
    return np.asarray(lit, np.float32)


def blurred(image: Floats, deviation: Sequence[float]) -> Floats:
    """The image blurred by a Gaussian of a standard deviation in voxels along each axis."""
    return np.stack([gaussian_filter(channel, deviation, mode="nearest") for channel in image])


def noisy(image: Floats, random: np.random.Generator, deviation: float) -> Floats:
    """The image with normal noise of a standard deviation."""
    noise = random.standard_normal(image.shape, np.float32)
    return np.asarray(image + np.float32(deviation) * noise, np.float32)


def without_section(image: Floats, at: int) -> Floats:
    """The image with one section (z) as dark as its darkest voxel."""
    made = image.copy()
    made[..., at] = image.min(axis=(1, 2, 3))[:, None, None]
    return made


def with_section_moved(image: Floats, at: int, by: tuple[int, int]) -> Floats:
    """The image with one section (z) moved in its plane by whole voxels, its edge repeated."""
    made = image.copy()
    xs, ys = (
        np.clip(np.arange(size) - step, 0, size - 1) for size, step in zip(image.shape[1:3], by, strict=True)
    )
    made[..., at] = image[:, xs[:, None], ys, at]
    return made
