"""Levels, shares and records of annotation layers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels import annotations as points
from chunkflow.kernels.morton import morton_encode

SIZES = st.tuples(*[st.integers(1, 5000)] * 3)
VOXELS = st.tuples(*[st.sampled_from([4.0, 8.0, 40.0, 227.0, 1000.0])] * 3)


@settings(deadline=None)
@given(SIZES, VOXELS)
def test_each_level_halves_axes_of_the_one_before(size: points.Vec, voxel_size: tuple[float, ...]) -> None:
    levels = points.levels_of(size, voxel_size)
    assert levels.shape(0) == (1, 1, 1)
    assert max(levels.cells[-1]) <= points.FINEST
    for coarse, fine in zip(levels.cells, levels.cells[1:], strict=False):
        assert coarse != fine
        assert all(c in (f, 2 * f) for c, f in zip(coarse, fine, strict=True))
    assert all(n <= e <= n + max(n // 4, 1) for n, e in zip(size, levels.extent, strict=True))


@settings(deadline=None)
@given(SIZES, VOXELS)
def test_cells_of_all_levels_have_numbers_of_their_own(
    size: points.Vec, voxel_size: tuple[float, ...]
) -> None:
    levels = points.levels_of(size, voxel_size)
    numbers = []
    for level in range(min(2, len(levels.cells))):
        shape = levels.shape(level)
        numbers += [levels.number(level, place) for place in np.ndindex(*shape)]
    assert sorted(numbers) == list(range(len(numbers)))


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 250)] * 3), VOXELS, st.integers(0, 4))
def test_no_shard_has_cells_of_two_blocks(
    size: points.Vec, voxel_size: tuple[float, ...], block: int
) -> None:
    levels = points.levels_of(size, voxel_size)
    levels = points.Levels(size, levels.cells, min(block, len(levels.cells) - 1))
    for level in range(levels.block + 1, len(levels.cells)):
        shape = levels.shape(level)
        places = np.stack([axis.ravel() for axis in np.indices(shape)], 1)
        shards, _ = levels.sharding(level).locate(morton_encode(places, shape))
        blocks = places * levels.cells[level] // levels.cells[levels.block]
        for shard in np.unique(shards):
            assert len(np.unique(blocks[shards == shard], axis=0)) == 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), st.integers(1, 5000))
def test_shares_rise_to_all_and_keep_the_limit(largest: list[int], limit: int) -> None:
    shares = points.shares(largest, limit)
    assert shares == sorted(shares)
    assert shares[-1] == points.ALL
    for level, share in enumerate(shares[:-1]):
        before = shares[level - 1] if level else 0
        assert (share - before) * max(largest[level], 1) <= limit * points.ALL


def test_levels_of_points_follow_the_shares() -> None:
    ids = np.arange(1, 200_001, dtype=np.uint64)
    shares = points.shares([200_000, 30_000, 5_000], 5_000)
    found = np.bincount(points.level_of_points(ids, shares), minlength=len(shares))
    expected = np.diff([0, *shares]) / points.ALL * len(ids)
    assert (np.abs(found - expected) < 5 * np.sqrt(len(ids))).all()


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=40, unique=True))
def test_a_cell_is_the_same_in_whatever_order_its_points_come(ids: list[int]) -> None:
    numbers = np.array(ids, np.uint64)
    records = np.zeros(len(ids), points.record_type(["float32"]))
    records["p0"] = np.arange(len(ids))
    order = np.random.default_rng(len(ids)).permutation(len(ids))
    assert points.encode_cell(records, numbers) == points.encode_cell(records[order], numbers[order])


def test_records_are_whole_words_and_the_largest_come_first() -> None:
    assert points.record_type(["uint32", "uint16", "uint8"]).itemsize == 20
    assert points.record_type(["float32"]).itemsize == 16
    with pytest.raises(ValueError, match="order"):
        points.record_type(["uint8", "float32"])
