"""The difference of Gaussians: against scipy, and the same in every window."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from chunkflow.kernels.images.gaussian import (
    RATIO,
    TRUNCATE,
    blob_sigma,
    difference_of_gaussians,
    filter_radius,
    gaussian,
    gaussian_radius,
    gaussian_weights,
)


def picture(shape: Sequence[int], dtype: Any, seed: int = 0) -> NDArray[Any]:
    values = np.random.default_rng(seed).random(shape) * (1 if dtype is np.float32 else np.iinfo(dtype).max)
    return np.asfortranarray(values.astype(dtype))


def by_scipy(image: NDArray[Any], sigma: Sequence[float]) -> NDArray[np.float64]:
    values = image.astype(np.float64)
    wide = [RATIO * one for one in sigma]
    narrow = ndimage.gaussian_filter(values, sigma, truncate=TRUNCATE)
    return np.asarray(narrow - ndimage.gaussian_filter(values, wide, truncate=TRUNCATE))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(40, 33, 21), (3, 50, 1), (1, 1, 1)])
def test_agrees_with_scipy(dtype: Any, shape: tuple[int, int, int]) -> None:
    image = picture(shape, dtype)
    sigma = (2.5, 1.7, 0.7)
    response = difference_of_gaussians(image, sigma)
    assert response.dtype == np.float32
    assert response.flags.f_contiguous
    assert np.allclose(response, by_scipy(image, sigma), rtol=0, atol=2e-6 * float(image.max()))


@settings(deadline=None, max_examples=60)
@given(st.data(), st.tuples(*[st.floats(0.3, 2.5)] * 3))
def test_a_value_does_not_depend_on_its_window(
    data: st.DataObject, sigma: tuple[float, float, float]
) -> None:
    image = picture((37, 23, 19), np.uint16)
    whole = difference_of_gaussians(image, sigma)
    start, stop, low, high = [], [], [], []
    for size, radius in zip(image.shape, filter_radius(sigma), strict=True):
        a = data.draw(st.integers(0, size - 1))
        b = data.draw(st.integers(a + 1, size))
        start.append(a)
        stop.append(b)
        low.append(max(0, a - radius - data.draw(st.integers(0, 3))))
        high.append(min(size, b + radius + data.draw(st.integers(0, 3))))
    window = image[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    keep = [(a - margin, b - margin) for a, b, margin in zip(start, stop, low, strict=True)]
    expected = whole[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
    assert (difference_of_gaussians(window, sigma, keep) == expected).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(40, 33, 21), (3, 50, 1), (1, 1, 1)])
def test_one_gaussian_agrees_with_scipy(dtype: Any, shape: tuple[int, int, int]) -> None:
    image, sigma = picture(shape, dtype), (6.5, 4.7, 0.3)
    smooth = gaussian(image, sigma)
    assert smooth.dtype == np.float32
    assert smooth.flags.f_contiguous
    expected = ndimage.gaussian_filter(image.astype(np.float64), sigma, truncate=TRUNCATE)
    assert np.allclose(smooth, expected, rtol=0, atol=2e-6 * float(image.max()))


def test_one_gaussian_needs_its_radius_and_no_more() -> None:
    image, sigma = picture((60, 60, 60), np.uint16), (2.5, 1.7, 4.0)
    whole, radius = gaussian(image, sigma), gaussian_radius(sigma)
    for less in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        low = [30 - r + n for r, n in zip(radius, less, strict=True)]
        part = image[low[0] :, low[1] :, low[2] :]
        found = gaussian(part, sigma, [(30 - a, 35 - a) for a in low])
        assert (found == whole[30:35, 30:35, 30:35]).all() == (less == (0, 0, 0))


def test_a_blob_of_about_the_diameter_answers_most() -> None:
    grid = np.indices((61, 61, 61)) - 30
    ball = ((grid**2).sum(axis=0) <= 6**2).astype(np.float32)
    diameters = (3.0, 6.0, 9.0, 12.0, 18.0, 30.0)
    responses = [difference_of_gaussians(ball, blob_sigma(d, (1, 1, 1)))[30, 30, 30] for d in diameters]
    assert diameters[int(np.argmax(responses))] in (9.0, 12.0)


def test_sigma_follows_the_voxel_size_of_each_axis() -> None:
    x, y, z = blob_sigma(12.0, (2.0, 2.0, 6.0))
    assert x == y == pytest.approx(3 * z)


def test_a_constant_image_answers_nothing() -> None:
    image = np.full((20, 20, 20), 65535, dtype=np.uint16)
    assert np.abs(difference_of_gaussians(image, (2.0, 2.0, 2.0))).max() < 0.05


def test_weights_are_rounded_once_and_sum_to_one() -> None:
    weights = gaussian_weights(2.0)
    assert weights.dtype == np.float32
    assert len(weights) == 7
    assert abs(float(weights[0]) + 2 * float(weights[1:].sum()) - 1) < 1e-6


def test_an_empty_part_is_empty() -> None:
    assert (
        difference_of_gaussians(picture((5, 5, 5), np.uint8), (1, 1, 1), [(2, 2), (0, 5), (0, 5)]).size == 0
    )
