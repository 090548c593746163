"""The logarithm less its background: against scipy, and the same of integers and of floats."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from chunkflow.kernels.images.gaussian import TRUNCATE
from chunkflow.kernels.images.local_contrast import local_contrast, logarithms


def picture(shape: tuple[int, int, int], dtype: Any = np.uint16) -> np.ndarray:
    values = np.random.default_rng(4).gamma(1.5, 60, shape)
    return np.asfortranarray(values.clip(0, 250).astype(dtype))


def test_logarithms_of_all_grey_values_are_rounded_once() -> None:
    greys = np.arange(2**16, dtype=np.uint16).reshape(64, 64, 16, order="F")
    expected = np.array([math.log1p(grey) for grey in range(2**16)]).astype(np.float32)
    assert (logarithms(greys).ravel(order="F") == expected).all()


def test_logarithms_of_floats_are_near_and_none_below_zero() -> None:
    values = np.concatenate([np.logspace(-30, 38, 5000), -np.logspace(-30, 30, 99), [0.0]])
    values = values.astype(np.float32).reshape(-1, 1, 1)
    expected = np.log1p(np.maximum(values.astype(np.float64), 0)).astype(np.float32)
    assert np.allclose(logarithms(values), expected, rtol=2e-7, atol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.uint64, np.float32])
def test_all_types_of_numbers_have_the_same_logarithms(dtype: Any) -> None:
    image = picture((13, 8, 5))
    assert (logarithms(image.astype(dtype)) == logarithms(image)).all()


@pytest.mark.parametrize("shape", [(50, 33, 21), (3, 70, 1), (1, 1, 1)])
def test_agrees_with_scipy(shape: tuple[int, int, int]) -> None:
    image, sigma = picture(shape), (4.5, 3.7, 1.2)
    logs = np.log1p(image.astype(np.float64))
    background = ndimage.gaussian_filter(logs, sigma, mode="reflect", truncate=TRUNCATE)
    found = local_contrast(image, sigma, [(0, n) for n in shape])
    assert found.dtype == np.float32
    assert found.flags.f_contiguous
    assert np.allclose(found, logs - background, rtol=0, atol=5e-6)
