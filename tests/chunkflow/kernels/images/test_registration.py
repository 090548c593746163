"""The shift between two strips, against shifts that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from chunkflow.geometry import Box
from chunkflow.kernels.images.registration import NOTHING, correlation, match_by_overlap, match_by_phase

WINDOW = Box((0, -6, -2), (30, 7, 3))


def texture(seed: int, shape: tuple[int, ...] = (80, 60, 14)) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    rough = 3000 + 4000 * gaussian_filter(noise, 1.0) + 8000 * gaussian_filter(noise, 4.0)
    return rough.clip(0).astype(np.uint16)


def strips(seed: int, shift: tuple[int, int, int], noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Two strips of 30 x 40 x 9 voxels; the second's first voxel is at `shift` in the first."""
    whole, rng = texture(seed), np.random.default_rng(seed + 1)
    x, y, z = 10 + shift[0], 10 + shift[1], 2 + shift[2]
    cut = [whole[10:40, 10:50, 2:11], whole[x : x + 30, y : y + 40, z : z + 9]]
    one, two = (
        gain * part + rng.normal(0, noise, part.shape) for gain, part in zip((1, 1.3), cut, strict=True)
    )
    return one.round().clip(0).astype(np.uint16), two.round().clip(0).astype(np.uint16)


shifts = st.tuples(st.integers(0, 24), st.integers(-6, 6), st.integers(-2, 2))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), shift=shifts)
def test_a_known_shift_is_found_in_noise(seed: int, shift: tuple[int, int, int]) -> None:
    match = match_by_phase([strips(seed, shift, 300.0)], WINDOW)
    assert np.abs(np.array(match.shift) - shift).max() < 0.5
    assert match.correlation > 0.5
    assert match.voxels == (30 - shift[0]) * (40 - abs(shift[1])) * (9 - abs(shift[2]))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), shift=shifts)
def test_several_slabs_say_one_shift(seed: int, shift: tuple[int, int, int]) -> None:
    slabs = [strips(seed + n, shift, 300.0) for n in range(2)]
    assert np.abs(np.array(match_by_phase(slabs, WINDOW).shift) - shift).max() < 0.5


@pytest.mark.parametrize("part", [-0.4, 0.25, 0.4])
def test_a_part_of_a_voxel_is_found(part: float) -> None:
    fine = gaussian_filter(np.random.default_rng(5).normal(size=(900, 50, 6)), (20, 2, 1)) * 1e5 + 9000
    step = round(20 * (12 + part))
    one = fine[: 20 * 25 : 20].astype(np.float32)
    two = fine[step : step + 20 * 25 : 20].astype(np.float32)
    match = match_by_phase([(one, two)], Box((0, -3, -1), (25, 4, 2)))
    assert match.shift[0] == pytest.approx(12 + part, abs=0.1)
    assert np.abs(match.shift[1:]).max() < 0.1


def test_nothing_is_found_where_nothing_is_to_be_seen() -> None:
    empty, full = np.zeros((30, 40, 9), np.uint16), texture(1)[:30, :40, :9]
    for one, two in ((empty, empty), (empty, full), (full, empty), (full * 0 + 7, full)):
        assert match_by_phase([(one, two)], WINDOW) == NOTHING


def test_what_is_alike_elsewhere_only_has_little_weight() -> None:
    match = match_by_phase([(texture(1)[:30, :40, :9], texture(2)[:30, :40, :9])], WINDOW)
    assert match.correlation < 0.9
    assert WINDOW.contains(Box.of_size((1, 1, 1), tuple(round(n) for n in match.shift)))


@given(shift=st.tuples(st.integers(-29, 29), st.integers(-39, 39), st.integers(-8, 8)))
@settings(max_examples=30, deadline=None)
def test_correlation_is_that_of_what_both_show(shift: tuple[int, int, int]) -> None:
    one, two = strips(3, (4, 1, 0), 200.0)
    first = one[tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(shift, one.shape, strict=True))]
    second = two[tuple(slice(max(-s, 0), n - max(s, 0)) for s, n in zip(shift, two.shape, strict=True))]
    found = correlation([(one, two)], shift)
    assert found.voxels == first.size == second.size
    if first.size > 3:
        assert found.correlation == pytest.approx(np.corrcoef(first.ravel(), second.ravel())[0, 1], abs=1e-9)


def test_correlation_of_some_rows_is_that_of_these() -> None:
    one, two = strips(3, (4, 1, 0), 200.0)
    rows = np.stack([part[:, ::3].ravel() for part in (one, two)])
    found = correlation([(one, two)], (0, 0, 0), 3)
    assert found.correlation == pytest.approx(np.corrcoef(*rows)[0, 1], abs=1e-9)
    assert found.voxels == one.size


@pytest.mark.parametrize("overlap", [1, 5, 17])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_overlap_with_the_least_difference(overlap: int, axis: int) -> None:
    whole = texture(4) if axis == 0 else texture(4).transpose(1, 0, 2)
    one, two = whole[:40, :50], whole[40 - overlap : 80 - overlap, :50]
    if axis == 1:
        one, two = one.transpose(1, 0, 2), two.transpose(1, 0, 2)
    match = match_by_overlap([(one, two)], axis, 20)
    assert match.shift[axis] == 40 - overlap
    assert match.shift[1 - axis] == match.shift[2] == 0
    assert match.correlation == pytest.approx(1)
