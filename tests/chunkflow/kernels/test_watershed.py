"""Steepest ascent: against the same said in plain Python, in one piece, and identical however it is cut."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chunkflow.kernels.objects.watershed import Basins, Corner, steepest_ascent
from chunkflow.kernels.precomputed.morton import voxel_ids

START = (5, -3, 2)  # of the volume: nothing may count from zero


def moved(corner: Any, by: Any) -> Corner:
    x, y, z = (int(a) + int(b) for a, b in zip(corner, by, strict=True))
    return x, y, z


def in_plain_python(
    heights: NDArray[np.float32], threshold: float, contrast: float, reach: Corner, minimum: int
) -> NDArray[np.uint64]:
    def parent(voxel: Corner) -> Corner:
        x, y, z = voxel
        low = [max(0, a - 1) for a in voxel]
        near = heights[low[0] : x + 2, low[1] : y + 2, low[2] : z + 2]
        place = max(np.ndindex(near.shape), key=lambda at: (near[at], at[2], at[1], at[0]))
        return moved(place, low)

    paths: dict[Corner, list[Corner]] = {}
    for voxel in map(tuple, np.argwhere(heights > threshold).tolist()):
        path = [voxel]
        while (onward := parent(path[-1])) != path[-1]:
            path.append(onward)
        paths[voxel] = path
    owned: dict[Corner, list[Corner]] = {}
    for voxel, path in paths.items():
        peak = path[-1]
        if all(abs(a - b) <= far for step in path for a, b, far in zip(step, peak, reach, strict=True)):
            owned.setdefault(peak, []).append(voxel)
    labels = np.zeros(heights.shape, dtype=np.uint64)
    for peak, voxels in owned.items():
        if heights[peak] >= contrast and len(voxels) >= minimum:
            for voxel in voxels:
                labels[voxel] = voxel_ids(np.array([peak]), heights.shape)[0]
    return labels


def landscape(kind: str, shape: Corner, seed: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    if kind == "noise":
        heights = random.random(shape)
    elif kind == "plateaus":
        heights = random.integers(0, 4, shape) / 4
    elif kind == "saturated":
        heights = np.minimum(random.random(shape) * 1.5, 1.0)
    elif kind == "constant":
        heights = np.ones(shape)
    else:  # long ridges that climb further than any reach
        x, y, z = np.indices(shape)
        heights = 0.2 + x * 0.03 - 0.2 * ((y - shape[1] // 2) % 5 > 0) + random.random(shape) * 0.05 * z
    return np.asfortranarray(heights.astype(np.float32))


def label(
    heights: NDArray[np.float32],
    window: tuple[Corner, Corner],
    core: tuple[Corner, Corner],
    rules: tuple[float, float, Corner, int],
) -> Basins | None:
    low, high = window
    part = heights[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    volume = (START, moved(START, heights.shape))
    inside = (moved(core[0], START), moved(core[1], START))
    return steepest_ascent(part, moved(low, START), volume, inside, *rules)


kinds = st.sampled_from(["noise", "plateaus", "saturated", "constant", "ridges"])
rules = st.tuples(
    st.sampled_from([0.0, 0.3, 0.6]),
    st.sampled_from([0.0, 0.7, 0.9]),
    st.tuples(*[st.integers(1, 3)] * 3),
    st.sampled_from([1, 2, 5, 40]),
)


@settings(deadline=None, max_examples=40)
@given(kinds, rules, st.integers(0, 99), st.tuples(*[st.integers(1, 9)] * 3))
def test_agrees_with_plain_python(
    kind: str, rules: tuple[float, float, Corner, int], seed: int, shape: Corner
) -> None:
    heights = landscape(kind, shape, seed)
    whole = ((0, 0, 0), shape)
    basins = label(heights, whole, whole, rules)
    assert basins is not None
    expected = in_plain_python(heights, *rules)
    assert (basins.labels == expected).all()
    assert basins.objects == len(np.unique(expected[expected > 0]))


@settings(deadline=None, max_examples=150)
@given(kinds, rules, st.integers(0, 99), st.data())
def test_the_same_in_every_window(
    kind: str, rules: tuple[float, float, Corner, int], seed: int, data: st.DataObject
) -> None:
    shape = (23, 17, 19)
    heights = landscape(kind, shape, seed)
    whole = label(heights, ((0, 0, 0), shape), ((0, 0, 0), shape), rules)
    assert whole is not None
    start = data.draw(st.tuples(*[st.integers(0, size - 1) for size in shape]))
    stop = tuple(data.draw(st.integers(a + 1, size)) for a, size in zip(start, shape, strict=True))
    cap = tuple(2 * far + 1 for far in rules[2])
    margin = data.draw(st.tuples(*[st.integers(0, most) for most in cap]) | st.just(cap))
    low = tuple(max(0, a - by) for a, by in zip(start, margin, strict=True))
    high = tuple(min(size, b + by) for b, by, size in zip(stop, margin, shape, strict=True))
    basins = label(heights, (low, high), (start, stop), rules)  # type: ignore[arg-type]
    if basins is None:
        assert margin != cap, "a window of the full size must do"
    else:
        expected = whole.labels[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
        assert (basins.labels == expected).all()


@pytest.mark.parametrize("kind", ["noise", "plateaus", "saturated", "constant", "ridges"])
def test_counts_add_up_over_any_cut(kind: str) -> None:
    shape = (20, 16, 12)
    heights = landscape(kind, shape, 1)
    rules = (0.3, 0.7, (2, 2, 1), 4)
    whole = label(heights, ((0, 0, 0), shape), ((0, 0, 0), shape), rules)
    assert whole is not None
    parts = []
    for x in range(0, 20, 7):
        for z in range(0, 12, 5):
            stop = (min(x + 7, 20), 16, min(z + 5, 12))
            part = label(heights, ((0, 0, 0), shape), ((x, 0, z), stop), rules)
            assert part is not None
            parts.append(part)
    for name in ("objects", "too_faint", "too_small", "voxels_out_of_reach"):
        assert sum(getattr(part, name) for part in parts) == getattr(whole, name), name


def test_a_small_window_is_found_too_small() -> None:
    heights = landscape("ridges", (20, 16, 12), 0)
    core = ((8, 6, 4), (12, 10, 8))
    assert label(heights, core, core, (0.1, 0.0, (6, 6, 6), 1)) is None


def test_a_small_object_that_goes_on_beyond_the_window_is_not_dropped() -> None:
    heights = np.zeros((20, 5, 5), np.float32, order="F")
    heights[5:13, 2, 2] = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    core, rules = ((0, 0, 0), (7, 5, 5)), (0.1, 0.0, (9, 2, 2), 8)
    assert label(heights, ((0, 0, 0), (9, 5, 5)), core, rules) is None
    basins = label(heights, ((0, 0, 0), (20, 5, 5)), core, rules)
    assert basins is not None
    assert (basins.labels[5:7, 2, 2] > 0).all()


def test_two_touching_cells_are_two() -> None:
    x, y, z = np.indices((30, 15, 15))
    heights = sum(np.exp(-((x - at) ** 2 + (y - 7) ** 2 + (z - 7) ** 2) / 18) for at in (9, 19))
    whole = ((0, 0, 0), (30, 15, 15))
    basins = label(np.asfortranarray(heights.astype(np.float32)), whole, whole, (0.2, 0.5, (9, 9, 9), 10))
    assert basins is not None
    assert basins.objects == 2
    assert basins.labels[9, 7, 7] == voxel_ids(np.array([[9, 7, 7]]), (30, 15, 15))[0]
    assert len(np.unique(basins.labels)) == 3


def test_what_is_not_a_number_is_background() -> None:
    heights = landscape("noise", (9, 9, 9), 0)
    heights[:5] = np.nan
    whole = ((0, 0, 0), (9, 9, 9))
    basins = label(heights, whole, whole, (0.3, 0.0, (3, 3, 3), 1))
    assert basins is not None
    assert not basins.labels[:5].any()
    assert basins.labels[5:].any()
