"""The field of uneven light: what it is fitted to, and that one thread decides it."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from chunkflow.kernels.illumination.bias_field import above_background, averaging_factor, fit_log_field
from chunkflow.kernels.images.pooling import coarser


@pytest.mark.parametrize(
    ("size", "voxel_size", "factor"),
    [
        ((100, 100, 100), (1.0, 1.0, 1.0), (1, 1, 1)),
        ((1116, 627, 12), (2.0, 2.0, 5.0), (4, 4, 2)),
        ((10_000, 12_000, 3000), (1620.0, 1620.0, 6000.0), (128, 128, 32)),
        ((40_000_000, 1, 1), (1.0, 1.0, 1.0), (32, 1, 1)),
    ],
)
def test_voxels_are_averaged_to_near_cubes(
    size: tuple[int, int, int], voxel_size: tuple[float, float, float], factor: tuple[int, int, int]
) -> None:
    assert averaging_factor(voxel_size, (0, 0, 0), size, 2_000_000) == factor


def test_what_hangs_over_at_both_ends_counts() -> None:
    """From voxel 0 the same volume may need one block more along an axis."""
    start, stop = (1, 1, 1), (201, 201, 201)
    factor = averaging_factor((1.0, 1.0, 1.0), start, stop, 100**3)
    first, last = coarser(start, stop, factor)
    assert factor == (4, 4, 4)
    assert prod(b - a for a, b in zip(first, last, strict=True)) <= 100**3


def test_what_is_brighter_than_the_background_is_kept() -> None:
    image = np.full((20, 20, 5), 3, np.float32)
    image[5:15, 5:15] = 100
    image[0, 0] = np.nan
    image[1, 0] = 0
    assert np.array_equal(above_background(image), image == 100)
    assert above_background(np.full((3, 3, 3), 7, np.float32)).all()
    assert not above_background(np.zeros((3, 3, 3), np.float32)).any()
    assert above_background(np.float32([[[0, 5]]])).sum() == 1


def test_all_is_kept_where_all_is_tissue() -> None:
    """With a few bright cells, in light that falls by half from one end to the other."""
    image = np.random.default_rng(0).normal(100, 10, (40, 20, 20)).astype(np.float32)
    image[::7, ::9, ::9] = 400
    assert above_background(image).all()
    assert above_background((image * np.geomspace(1, 0.5, 40).reshape(40, 1, 1)).astype(np.float32)).all()


def test_dim_tissue_is_no_background() -> None:
    """Of the grey values themselves Otsu's threshold would fall between dim and bright tissue."""
    light = np.exp(np.linspace(-1, 1, 40)).reshape(40, 1, 1)
    image = np.full((40, 20, 5), 3, np.float32)
    image[:, 5:] = 100 * light
    assert np.array_equal(above_background(image), image > 3)


def tissue(shape: tuple[int, int, int], light: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(0).normal(100, 8, shape) * np.exp(light)).astype(np.float32)


def slope(shape: tuple[int, int, int]) -> np.ndarray:
    x, y = (
        np.linspace(-0.4, 0.4, n).reshape(-1, *[1] * axis) for n, axis in zip(shape[:2], (2, 1), strict=True)
    )
    return np.broadcast_to(x + 2 * y * y - np.mean(2 * y * y), shape)


@pytest.mark.parametrize("shape", [(40, 30, 12), (40, 30, 2), (40, 30, 1), (400, 1, 1)])
def test_a_field_is_found_in_a_volume_however_thin(shape: tuple[int, int, int]) -> None:
    pytest.importorskip("SimpleITK")
    light = slope(shape)
    mask = np.ones(shape, bool)
    found = fit_log_field(tissue(shape, light), mask, 2, 30)
    assert found.dtype == np.float32
    assert abs(found.mean()) < 1e-6
    assert np.std(found - light) < 0.05 < 0.15 < np.std(light)


def test_one_thread_decides_whatever_the_program_has_set() -> None:
    itk = pytest.importorskip("SimpleITK")
    image = tissue((60, 50, 20), slope((60, 50, 20)))
    mask = np.ones(image.shape, bool)
    before = itk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for threads in (1, 2):
            itk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            found.append(fit_log_field(image, mask, 2, 5).tobytes())
            assert itk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        itk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert len(set(found)) == 1


def test_a_constant_image_has_an_even_field() -> None:
    image = np.full((20, 20, 20), 7, np.float32)
    assert not fit_log_field(image, np.ones(image.shape, bool), 2, 30).any()


def test_the_field_is_no_stronger_beyond_the_mask() -> None:
    pytest.importorskip("SimpleITK")
    image = tissue((40, 40, 10), slope((40, 40, 10)))
    mask = np.zeros(image.shape, bool)
    mask[:12, :12] = True
    image[~mask] = np.nan
    found = fit_log_field(image, mask, 3, 30)
    assert np.isfinite(found).all()
    assert (found.min(), found.max()) == (found[mask].min(), found[mask].max())
    assert abs(found[mask].mean()) < 1e-6
