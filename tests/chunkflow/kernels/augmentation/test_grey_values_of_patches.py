"""Grey values of patches: light, blur, noise and sections, each within what was asked for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.kernels.augmentation.grey_values import (
    blurred,
    noisy,
    relit,
    with_section_moved,
    without_section,
)

Seeds = st.integers(0, 10**6)


def patch(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(1, 2, (2, 9, 8, 7)).astype(np.float32)


@given(Seeds, st.floats(1, 4), st.floats(0, 2))
def test_light_changes_contrast_and_brightness_within_bounds(seed: int, gain: float, offset: float) -> None:
    image = patch(seed)
    lit = relit(image, np.random.default_rng(seed), gain, offset, 0.0)
    factor = lit.std() / image.std()
    assert 1 / gain - 1e-4 <= factor <= gain + 1e-4
    assert abs(lit.mean() - image.mean()) <= offset + 1e-4
    assert lit.dtype == np.float32
    assert np.corrcoef(lit.ravel(), image.ravel())[0, 1] > 0.9999


@given(Seeds)
def test_a_slope_is_straight_and_within_bounds(seed: int) -> None:
    image = patch(seed)
    sloped = relit(image, np.random.default_rng(seed), 1.0, 0.0, 2.0) - image
    assert np.abs(sloped).max() <= 2.0 * np.sqrt(3) / 2 + 1e-4
    np.testing.assert_allclose(np.diff(sloped, 2, axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(sloped[0], sloped[1], atol=1e-5)


def test_nothing_asked_for_changes_nothing() -> None:
    image = patch(0)
    np.testing.assert_allclose(relit(image, np.random.default_rng(0), 1.0, 0.0, 0.0), image, atol=1e-5)
    np.testing.assert_array_equal(noisy(image, np.random.default_rng(0), 0.0), image)
    np.testing.assert_array_equal(blurred(image, (0, 0, 0)), image)


def test_noise_has_its_deviation_and_blur_keeps_the_mean() -> None:
    flat = np.zeros((1, 40, 40, 40), np.float32)
    assert abs(noisy(flat, np.random.default_rng(1), 0.5).std() - 0.5) < 0.01
    spot = flat.copy()
    spot[0, 20, 20, 20] = 1
    soft = blurred(spot, (2.0, 1.0, 0.0))
    assert abs(soft.sum() - 1) < 1e-4
    assert soft[0, 20, 20, 20] == soft.max() < 0.2
    assert not soft[..., 19].any()


@given(Seeds, st.integers(0, 6), st.integers(-4, 4), st.integers(-4, 4))
def test_one_section_alone_is_missing_or_moved(seed: int, at: int, x: int, y: int) -> None:
    image = patch(seed)
    others = [z for z in range(7) if z != at]
    moved, dark = with_section_moved(image, at, (x, y)), without_section(image, at)
    for made in (moved, dark):
        np.testing.assert_array_equal(made[..., others], image[..., others])
    assert (dark[..., at] == image.min(axis=(1, 2, 3))[:, None, None]).all()
    for i, j in np.ndindex(9, 8):
        source = min(max(i - x, 0), 8), min(max(j - y, 0), 7)
        np.testing.assert_array_equal(moved[:, i, j, at], image[(slice(None), *source, at)])
