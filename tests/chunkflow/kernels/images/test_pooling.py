"""Pooling against plain Python, over any window, and the mips that a volume gets."""

from collections import Counter
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.images.pooling import coarser, mip_factors, next_factor, pool

DTYPES = ("uint8", "uint16", "uint32", "uint64", "float32")


def blocks(array, start, factor):
    """Each coarse voxel's place, and the fine ones that exist in it."""
    first, last = coarser(start, tuple(a + n for a, n in zip(start, array.shape, strict=True)), factor)
    for place in np.ndindex(*(b - a for a, b in zip(first, last, strict=True))):
        low = [(p + a) * f - s for p, a, f, s in zip(place, first, factor, start, strict=True)]
        part = tuple(slice(max(n, 0), n + f) for n, f in zip(low, factor, strict=True))
        yield place, array[part].ravel().tolist()


def mean(values, dtype):
    exact = Fraction(sum(map(Fraction, values)), len(values))
    return floor(exact + Fraction(1, 2)) if dtype != "float32" else float(exact)


def mode(values):
    counts = Counter(values)
    return min(value for value, count in counts.items() if count == max(counts.values()))


starts, shapes, factors = (st.tuples(*[st.integers(*ends)] * 3) for ends in ((-5, 5), (1, 7), (1, 3)))


@settings(max_examples=80, deadline=None)
@given(
    start=starts,
    shape=shapes,
    factor=factors,
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 999),
    few=st.booleans(),
)
def test_pooling_is_what_plain_python_says(start, shape, factor, dtype, seed, few):
    top = 3 if few else 2**24 if dtype == "float32" else int(np.iinfo(dtype).max)
    values = np.random.default_rng(seed).integers(0, top, shape, dtype="uint64", endpoint=True)
    array = np.asfortranarray(values.astype(dtype))
    averaged, commonest = pool(array, start, factor, "mean"), pool(array, start, factor, "mode")
    assert averaged.dtype == commonest.dtype == array.dtype
    assert averaged.flags.f_contiguous
    for place, inside in blocks(array, start, factor):
        assert commonest[place] == mode(inside)
        assert averaged[place] == pytest.approx(
            mean(inside, dtype), rel=1e-7 if dtype == "float32" else 0, abs=0
        )


@pytest.mark.parametrize("method", ["mean", "mode"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_windows_agree_with_the_whole(method, dtype):
    array = np.asfortranarray((np.random.default_rng(0).random((13, 11, 9)) * 9).astype(dtype))
    whole = pool(array, (3, -5, 0), (2, 2, 2), method)
    window = pool(array[3:9, 1:, 4:], (6, -4, 4), (2, 2, 2), method)
    assert (window == whole[2:5, 1:, 2:]).all()


def test_means_of_whole_numbers_may_be_fractions():
    array = np.array([1, 2, 65535, 65534], np.uint16).reshape(2, 2, 1)
    assert pool(array, (0, 0, 0), (1, 2, 1), "mean", "float32").ravel().tolist() == [1.5, 65534.5]


def test_channels_are_pooled_apart():
    array = np.asfortranarray(np.random.default_rng(0).integers(0, 255, (6, 5, 4, 3), dtype=np.uint8))
    pooled = pool(array, (1, 0, 0), (2, 2, 1), "mean")
    assert pooled.shape == (4, 3, 4, 3)
    for channel in range(3):
        assert (pooled[..., channel] == pool(array[..., channel], (1, 0, 0), (2, 2, 1), "mean")).all()


def test_halves_go_up_and_ties_to_the_smallest():
    array = np.array([1, 2], np.uint8).reshape(2, 1, 1)
    assert pool(array, (0, 0, 0), (2, 1, 1), "mean").item() == 2
    assert pool(array[::-1], (0, 0, 0), (2, 1, 1), "mode").item() == 1
    largest = np.full((2, 2, 2), 2**64 - 1, np.uint64)
    assert pool(largest, (0, 0, 0), (2, 2, 2), "mean").item() == 2**64 - 1


@pytest.mark.parametrize(
    ("voxel_size", "size", "factor"),
    [
        ((16, 16, 40), (512, 512, 512), (2, 2, 1)),
        ((32, 32, 40), (256, 256, 512), (2, 2, 2)),
        ((1.62, 1.62, 6), (200, 200, 200), (2, 2, 1)),
        ((8, 8, 8), (64, 64, 1), (2, 2, 1)),
        ((8, 8, 40), (64, 64, 1), (2, 2, 1)),
        ((8, 8, 8), (1, 1, 1), (1, 1, 1)),
        ((30, 8, 8), (512, 512, 512), (1, 2, 2)),
    ],
)
def test_the_finest_axes_are_halved_until_voxels_are_near_cubes(voxel_size, size, factor):
    assert next_factor(voxel_size, size) == factor


def test_mips_end_when_all_fits_one_storage_chunk():
    factors = mip_factors((16, 16, 40), (0, 0, 0), (512, 512, 512), (64, 64, 64))
    assert factors == [(2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)]
    assert mip_factors((16, 16, 40), (0, 0, 0), (64, 64, 64), (64, 64, 64)) == [(2, 2, 1)]
    assert mip_factors((16, 16, 40), (5, 5, 5), (6, 6, 6), (64, 64, 64)) == []
    assert mip_factors((16, 16, 40), (0, 0, 0), (64, 64, 64), (64, 64, 64), mips=1) == [(2, 2, 1)]
    assert mip_factors((1, 1, 1), (0, 0, 0), (9, 9, 9), (1, 1, 1), factor=(3, 3, 3)) == [(3, 3, 3)] * 2
    # An odd start keeps a voxel more: -1..1 of each half remains two voxels, however often.
    assert len(mip_factors((1, 1, 1), (-1, 0, 0), (1, 4, 4), (1, 1, 1), mips=3)) == 3
