"""Adaptive equalisation: against a reference voxel by voxel, and what each of its rules is for."""

from itertools import product
from math import sqrt

import numpy as np
import pytest

from chunkflow.kernels.images.equalisation import BINS, equalise, tiles_around, voxels_of_tiles

TILE = (8, 9, 10)


def spans_of(shape: tuple[int, ...], start: tuple[int, int, int] = (0, 0, 0)) -> list[tuple[int, int]]:
    return [(a, a + n) for a, n in zip(start, shape, strict=True)]


def curve_of(values: np.ndarray, low: float, high: float, limit: float) -> np.ndarray:
    """The curve of one tile at the ends of its bins."""
    places = np.clip((values.astype(float) - low) * (BINS / (high - low)), 0, BINS)
    counts = np.bincount(np.minimum(places.astype(int), BINS - 1).ravel(), minlength=BINS)
    kept = np.minimum(counts, limit * values.size)
    return np.concatenate([[0], np.cumsum(kept + (values.size - kept.sum()) / BINS)]) / values.size


def reference(
    image: np.ndarray, start: tuple[int, int, int], greys: tuple[float, float], limit: float
) -> np.ndarray:
    """Each voxel between the curves of the eight tiles whose centres are around it."""
    whole = spans_of(image.shape, start)
    tiles = [range(a // t, (b - 1) // t + 1) for (a, b), t in zip(whole, TILE, strict=True)]
    curves = {}
    for tile in product(*tiles):
        ends = [voxels_of_tiles((at, at + 1), span, t) for at, span, t in zip(tile, whole, TILE, strict=True)]
        part = tuple(slice(a - s, b - s) for (a, b), s in zip(ends, start, strict=True))
        curves[tile] = curve_of(image[part], *greys, limit)
    out = np.zeros(image.shape)
    for voxel in np.ndindex(*image.shape):
        place = np.clip((float(image[voxel]) - greys[0]) * BINS / (greys[1] - greys[0]), 0, BINS)
        from_centre = [(at + s + 0.5) / t - 0.5 for at, s, t in zip(voxel, start, TILE, strict=True)]
        for corner in product((0, 1), repeat=3):
            first = [int(np.floor(u)) for u in from_centre]
            shares = [u - f if c else 1 - u + f for u, f, c in zip(from_centre, first, corner, strict=True)]
            nearest = tuple(
                min(max(f + c, of[0]), of[-1]) for f, c, of in zip(first, corner, tiles, strict=True)
            )
            out[voxel] += np.prod(shares) * np.interp(place, np.arange(BINS + 1), curves[nearest])
    return out


@pytest.mark.parametrize("shape", [(19, 14, 11), (21, 3, 1)])
@pytest.mark.parametrize("start", [(0, 0, 0), (-13, 5, 27)])
@pytest.mark.parametrize("limit", [0.02, 1.0])
def test_agrees_with_the_reference(
    shape: tuple[int, int, int], start: tuple[int, int, int], limit: float
) -> None:
    image = np.asfortranarray(np.random.default_rng(3).gamma(2, 200, shape).astype(np.uint16))
    whole, greys = spans_of(shape, start), (50.0, 1000.5)
    found = equalise(image, whole, whole, whole, TILE, greys, limit)
    assert found.flags.f_contiguous
    assert np.allclose(found, reference(image, start, greys, limit), rtol=0, atol=1e-6)


def test_without_a_limit_the_histogram_of_a_tile_becomes_even() -> None:
    image = np.random.default_rng(1).normal(500, 30, (40, 40, 40)).astype(np.float32)
    whole = spans_of(image.shape)
    found = equalise(image, whole, whole, whole, (40, 40, 40), (float(image.min()), float(image.max())), 1.0)
    counts, _ = np.histogram(found, 16, (0, 1))
    assert counts.min() > 0.9 * found.size / 16


def test_the_limit_keeps_noise_from_being_stretched() -> None:
    image = np.random.default_rng(1).normal(500, 1, (40, 40, 40)).astype(np.float32)
    whole = spans_of(image.shape)
    even, some, hardly = (
        float(equalise(image, whole, whole, whole, (40, 40, 40), (480.0, 520.0), limit).std())
        for limit in (1.0, 0.02, 1 / 256)
    )
    assert even == pytest.approx(1 / sqrt(12), rel=0.02)
    assert even > 1.5 * some > 2 * hardly
    assert 1 / 40 < hardly < 2 / 40  # a curve rises at most 256 limit + 1 times as much as a straight line


@pytest.mark.parametrize(
    ("span", "whole", "expected"),
    [
        ((0, 1), (0, 100), (0, 1)),  # before the first centre
        ((4, 6), (0, 100), (0, 2)),  # beyond it: between the first two
        ((15, 16), (0, 100), (1, 3)),
        ((95, 100), (0, 100), (9, 10)),
        ((-15, -14), (-17, -3), (-2, 0)),
    ],
)
def test_tiles_are_those_whose_centres_are_around(
    span: tuple[int, int], whole: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert tiles_around(span, whole, 10) == expected
