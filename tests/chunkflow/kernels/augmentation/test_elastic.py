"""Elastic deformation: image and truth stay together, and nothing is read beyond the window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from chunkflow.kernels.augmentation.elastic import draw_field, warp_image, warp_labels

SIZE, MARGIN, VOXEL = (14, 11, 9), (4, 3, 2), (1000.0, 1000.0, 2000.0)
LARGER = tuple(n + 2 * m for n, m in zip(SIZE, MARGIN, strict=True))
Seeds = st.integers(0, 10**6)


def field_of(seed: int, deviation: float = 1.5) -> np.ndarray:
    return draw_field(np.random.default_rng(seed), SIZE, VOXEL, 5.0, deviation)


def clipped(field: np.ndarray) -> np.ndarray:
    reach = np.array(MARGIN, np.float32)[:, None, None, None]
    return np.clip(field, -reach, reach)


@given(Seeds, st.floats(0, 20))
def test_an_image_is_read_at_the_displaced_places(seed: int, deviation: float) -> None:
    image = np.random.default_rng(seed).normal(size=(2, *LARGER)).astype(np.float32)
    field = field_of(seed, deviation)
    places = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij")).astype(np.float64)
    places += clipped(field) + np.array(MARGIN)[:, None, None, None]
    found = warp_image(image, field, MARGIN)
    assert found.dtype == np.float32
    for one, channel in zip(found, image, strict=True):
        np.testing.assert_allclose(one, map_coordinates(channel, places, order=1, mode="nearest"), atol=1e-5)


@given(Seeds, st.floats(0, 20), st.sampled_from(["bool", "uint8", "uint16", "int32", "uint32", "int64"]))
def test_labels_are_those_of_the_nearest_voxels(seed: int, deviation: float, dtype: str) -> None:
    labels = np.random.default_rng(seed).integers(0, 100, (1, *LARGER)).astype(dtype)
    field = field_of(seed, deviation)
    found = warp_labels(labels, field, MARGIN)
    assert found.dtype == labels.dtype
    places = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij"))
    places = (
        places
        + np.floor(clipped(field) + np.float32(0.5)).astype(int)
        + np.array(MARGIN)[:, None, None, None]
    )
    limit = np.array(LARGER)[:, None, None, None] - 1
    np.testing.assert_array_equal(found[0], labels[0][tuple(np.minimum(places, limit))])


@given(Seeds)
def test_a_marked_voxel_is_where_the_image_is_bright(seed: int) -> None:
    labels = np.zeros((1, *LARGER), np.uint8)
    labels[0, 6:15, 5:12, 3:9] = 1
    field = field_of(seed)
    image = warp_image(labels.astype(np.float32), field, MARGIN)
    truth = warp_labels(labels, field, MARGIN)
    assert (image[truth == 1] >= 0.125 - 1e-5).all()
    assert (image[truth == 0] <= 0.875 + 1e-5).all()


def test_no_displacement_changes_nothing() -> None:
    image = np.random.default_rng(0).normal(size=(1, *LARGER)).astype(np.float32)
    field = np.zeros((3, *SIZE), np.float32)
    inner = (slice(None), *(slice(m, m + n) for m, n in zip(MARGIN, SIZE, strict=True)))
    np.testing.assert_array_equal(warp_image(image, field, MARGIN), image[inner])
    np.testing.assert_array_equal(warp_labels(image, field, MARGIN), image[inner])


@pytest.mark.parametrize("spacing", [3.0, 40.0])
def test_a_field_is_smooth_and_of_the_size_asked_for(spacing: float) -> None:
    fields = [draw_field(np.random.default_rng(n), (30, 30, 20), VOXEL, spacing, 2.0) for n in range(30)]
    found = np.stack(fields)
    assert found.shape[1:] == (3, 30, 30, 20)
    spread = found.std(axis=(0, 2, 3, 4))
    assert np.all(spread < [2.0, 2.0, 1.0])
    assert np.all(spread > [0.4, 0.4, 0.2])
    assert np.abs(np.diff(found, axis=2)).max() < 2 * 4 / spacing  # no jump between neighbours
