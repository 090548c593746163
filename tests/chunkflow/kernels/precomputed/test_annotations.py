"""Levels, shares and records of annotation layers."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.precomputed import annotations as points
from chunkflow.kernels.precomputed.morton import morton_encode

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
    found = np.bincount(points.levels_by_hash(ids, shares), minlength=len(shares))
    expected = np.diff([0, *shares]) / points.ALL * len(ids)
    assert (np.abs(found - expected) < 5 * np.sqrt(len(ids))).all()


LISTS = st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=5), min_size=1, max_size=8)


@settings(deadline=None)
@given(LISTS, st.integers(1, 30), st.integers(0, 9))
def test_lists_are_counts_records_and_ids(lists: list[list[int]], width: int, seed: int) -> None:
    counts = np.array([len(ids) for ids in lists], np.int64)
    ids = np.array([n for found in lists for n in found], np.uint64)
    records = np.random.default_rng(seed).integers(0, 256, (len(ids), width), np.uint8)
    data, sizes = points.encode_lists(records, ids, counts)
    at = row = 0
    for found, size in zip(lists, sizes, strict=True):
        value, rest = data[at : at + size].tobytes(), row + len(found)
        content = records[row:rest].tobytes()
        assert value == struct.pack("<Q", len(found)) + content + struct.pack(f"<{len(found)}Q", *found)
        at, row = at + size, rest
    assert at == len(data)


@settings(deadline=None)
@given(LISTS, st.integers(1, 30), st.integers(0, 9))
def test_singles_are_records_and_what_they_are_related_to(
    lists: list[list[int]], width: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    records = random.integers(0, 256, (len(lists), width), np.uint8)
    related = [lists, [lists[n] for n in random.permutation(len(lists))]]
    columns = [
        (
            np.array([n for ids in found for n in ids], np.uint64),
            np.array([len(ids) for ids in found], np.int64),
        )
        for found in related
    ]
    data, sizes = points.encode_singles(records, columns)
    for n, end in enumerate(np.cumsum(sizes)):
        plain = records[n].tobytes() + b"".join(
            struct.pack("<I", len(found[n])) + struct.pack(f"<{len(found[n])}Q", *found[n])
            for found in related
        )
        assert data[end - sizes[n] : end].tobytes() == plain


def test_records_are_whole_words_and_the_largest_come_first() -> None:
    assert points.record_type(3, ["uint32", "uint16", "uint8"]).itemsize == 20
    assert points.record_type(3, ["float32"]).itemsize == 16
    assert points.record_type(6, ["uint16", "rgb", "rgba"]).itemsize == 36
    with pytest.raises(ValueError, match="order"):
        points.record_type(3, ["rgb", "uint16"])
