"""Summits of a heatmap: those of a plain reference, one for each blob, and the same in any window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.geometry import Box, vec
from chunkflow.kernels.images.summits import cuboid_reach, find_summits, window_reach

VOXEL = (1000.0, 1500.0, 2000.0)


def heat_of(size: tuple[int, int, int], seed: int, levels: int) -> np.ndarray:
    """Random values of few levels, so that many are alike."""
    random = np.random.default_rng(seed)
    return (random.integers(0, levels, size) * (65535 // max(levels - 1, 1))).astype(np.uint16)


def plain_summits(heat: np.ndarray, radius: float, least: int) -> set[tuple[int, ...]]:
    """By the words of the rule, voxel by voxel."""
    reach = cuboid_reach(radius, VOXEL)
    sums = {
        at: int(heat[tuple(slice(max(i - r, 0), i + r + 1) for i, r in zip(at, reach, strict=True))].sum())
        for at in np.ndindex(*heat.shape)
    }
    found = set()
    for at, own in sums.items():
        near = [
            (sums[other], int(heat[other]), tuple(-i for i in other[::-1]))
            for other in sums
            if other != at
            and heat[other] >= least
            and sum(((a - b) * v) ** 2 for a, b, v in zip(at, other, VOXEL, strict=True)) <= radius**2
        ]
        own_rank = (own, int(heat[at]), tuple(-i for i in at[::-1]))
        if heat[at] >= least and not any(rank > own_rank for rank in near):
            found.add(at)
    return found


@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([900.0, 1600.0, 3100.0]))
def test_they_are_those_of_the_rule(seed: int, levels: int, radius: float) -> None:
    heat = heat_of((7, 6, 5), seed, levels)
    box = Box.of_size((7, 6, 5))
    voxels, places, values = find_summits(heat, box, box, radius, VOXEL, 30000)
    assert {tuple(map(int, voxel)) for voxel in voxels} == plain_summits(heat, radius, 30000)
    np.testing.assert_array_equal(values, heat[tuple(voxels.T)])
    reach = np.array(cuboid_reach(radius, VOXEL)) + 0.5
    assert (np.abs(places - (voxels + 0.5)) <= reach).all()


@given(st.integers(0, 10**6), st.integers(2, 5), st.data())
def test_a_box_has_those_of_the_whole(seed: int, levels: int, data: st.DataObject) -> None:
    size, start = (14, 12, 9), (5, -3, 7)
    heat, volume = heat_of(size, seed, levels), Box.of_size(size, start)
    first = [data.draw(st.integers(0, n - 1)) for n in size]
    last = [data.draw(st.integers(a + 1, n)) for a, n in zip(first, size, strict=True)]
    core = Box(vec(first), vec(last)).shift(start)
    window = core.grow(window_reach(2500, VOXEL)).clip(volume)
    part = find_summits(heat[window.slices(start)], window, core, 2500, VOXEL, 1)
    whole = find_summits(heat, volume, volume, 2500, VOXEL, 1)
    inside = np.array([core.contains(Box.of_size((1, 1, 1), vec(voxel))) for voxel in whole[0]], bool)
    for one, other in zip(part, whole, strict=True):
        np.testing.assert_array_equal(one, other[inside])


def test_a_flat_top_is_one_cell_in_its_middle() -> None:
    heat = np.zeros((21, 21, 11), np.uint16)
    heat[6:13, 7:14, 3:8] = 65535
    box = Box.of_size((21, 21, 11))
    voxels, places, _ = find_summits(heat, box, box, 4000, VOXEL, 30000)
    assert len(voxels) == 1
    assert np.abs(places[0] - (9.5, 10.5, 5.5)).max() <= 0.5


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 1), (40, 1, 1)])
def test_thin_volumes_have_summits(shape: tuple[int, int, int]) -> None:
    heat = np.zeros(shape, np.uint16)
    heat[shape[0] // 2, shape[1] // 2, 0] = 9
    box = Box.of_size(shape)
    voxels, places, values = find_summits(heat, box, box, 3000, VOXEL, 1)
    assert voxels.tolist() == [[shape[0] // 2, shape[1] // 2, 0]]
    assert places[0].tolist() == [shape[0] // 2 + 0.5, shape[1] // 2 + 0.5, 0.5]
    assert values.tolist() == [9]
