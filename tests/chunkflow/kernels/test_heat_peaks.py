"""Peaks of a heatmap: those of the plain rule, the same from every window, one for a plateau."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.geometry import Box, Vec, vec
from chunkflow.kernels.objects.heat_peaks import HeatPeaks, find_heat_peaks, offsets_within

Rule = tuple[int, Vec, tuple[float, float, float]]
"""The threshold, how far boxes go, the radii of what is in reach."""
Rows = list[tuple[tuple[int, ...], int, int, tuple[int, ...]]]


def rows_of(peaks: HeatPeaks, start: Vec = (0, 0, 0)) -> Rows:
    return [
        (
            tuple(int(n) + a for n, a in zip(place, start, strict=True)),
            int(height),
            int(weight),
            tuple(moment),
        )
        for place, height, weight, moment in zip(
            peaks.places, peaks.heights, peaks.weights, peaks.moments.tolist(), strict=True
        )
    ]


def found(heat: np.ndarray, rule: Rule, core: Box | None = None) -> Rows:
    """The peaks in a box, from a window that holds no more than they depend on."""
    threshold, half, radii = rule
    volume = Box.of_size(vec(heat.shape))
    core = core or volume
    window = core.grow(vec(max(1, int(r)) + 2 * n for r, n in zip(radii, half, strict=True))).clip(volume)
    x, y, z = ((part.start, part.stop) for part in core.slices(window.start))
    seen = np.asfortranarray(heat[window.slices((0, 0, 0))])
    return rows_of(find_heat_peaks(seen, (x, y, z), threshold, half, offsets_within(radii)), window.start)


def box_sums(values: np.ndarray, half: Vec) -> np.ndarray:
    sums = np.zeros(values.shape, np.int64)
    for place in np.ndindex(values.shape):
        near = tuple(slice(max(p - n, 0), p + n + 1) for p, n in zip(place, half, strict=True))
        sums[place] = values[near].sum()
    return sums


def expected(heat: np.ndarray, rule: Rule) -> Rows:
    """The rule said plainly: every voxel is held against every other."""
    threshold, half, radii = rule
    values = heat.astype(np.int64)
    sums = box_sums(box_sums(values, half), half)
    hot = np.argwhere(values >= threshold)
    rows = []
    for place in sorted(map(tuple, hot.tolist()), key=lambda p: p[::-1]):
        off = hot - place
        near = (((off / np.array(radii)) ** 2).sum(1) <= 1) | (abs(off).max(1) <= 1)
        others = [tuple(p) for p in hot[near].tolist()]
        first = max(others, key=lambda p: (sums[p], tuple(-n for n in p[::-1])))
        if first == place:
            weights = values[tuple(hot[near].T)]
            moment = (weights[:, None] * off[near]).sum(0)
            rows.append((place, int(values[place]), int(weights.sum()), tuple(moment.tolist())))
    return rows


@st.composite
def heatmaps(draw: st.DrawFn) -> tuple[np.ndarray, Rule]:
    """Few values, so that many are equal; sizes down to 1."""
    size = vec(draw(st.integers(1, 11)) for _ in range(3))
    dtype, step = draw(st.sampled_from([(np.uint8, 85), (np.uint16, 65535), (np.uint8, 1)]))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    heat = (random.integers(0, draw(st.integers(1, 4)), size) * step).astype(dtype)
    half = vec(draw(st.integers(0, 2)) for _ in range(3))
    radii = tuple(draw(st.sampled_from([0.4, 1.0, 1.5, 2.0, 3.2])) for _ in range(3))
    return heat, (draw(st.sampled_from([1, step, 2 * step])), half, (radii[0], radii[1], radii[2]))


@settings(max_examples=60)
@given(heatmaps())
def test_peaks_are_those_of_the_plain_rule(drawn: tuple[np.ndarray, Rule]) -> None:
    heat, rule = drawn
    assert found(heat, rule) == expected(heat, rule)


@given(heatmaps(), st.data())
def test_every_cut_gives_the_same_peaks(drawn: tuple[np.ndarray, Rule], data: Any) -> None:
    heat, rule = drawn
    edges = [sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=2))}) for n in heat.shape]
    rows: Rows = []
    for x in zip(edges[0], edges[0][1:], strict=False):
        for y in zip(edges[1], edges[1][1:], strict=False):
            for z in zip(edges[2], edges[2][1:], strict=False):
                rows += found(heat, rule, Box((x[0], y[0], z[0]), (x[1], y[1], z[1])))
    assert sorted(rows) == sorted(found(heat, rule))


def test_a_plateau_has_one_peak_in_its_middle() -> None:
    places = np.stack(np.meshgrid(*[np.arange(31)] * 3, indexing="ij"), -1)
    for radius in range(1, 9):
        heat = np.where(((places - (15, 14, 16)) ** 2).sum(-1) <= radius**2, 255, 0).astype(np.uint8)
        (row,) = found(heat, (128, (4, 4, 4), (8.0, 8.0, 8.0)))
        assert row[0] == (15, 14, 16)
        assert row[3] == (0, 0, 0)


def test_two_plateaus_that_touch_have_two_peaks() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(31)] * 3, indexing="ij"), -1)
    middles = [(9, 15, 15), (20, 15, 15)]
    near = [((grid - middle) ** 2).sum(-1) <= 30 for middle in middles]
    heat = np.where(near[0] | near[1], 255, 0).astype(np.uint8)
    assert heat[9:21, 15, 15].all()
    places = np.array([row[0] for row in found(heat, (128, (3, 3, 3), (6.0, 6.0, 6.0)))])
    assert abs(places - middles).max() <= 1


def test_nothing_as_hot_as_the_threshold_is_no_peak() -> None:
    heat = np.full((9, 8, 7), 127, np.uint8)
    assert found(heat, (128, (1, 1, 1), (2.0, 2.0, 2.0))) == []
    assert len(found(heat, (127, (1, 1, 1), (2.0, 2.0, 2.0)))) == 1


def test_a_box_whose_sums_would_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too large for sums of 64 bits"):
        found(np.zeros((3, 3, 3), np.uint8), (1, (102, 102, 102), (3.0, 3.0, 3.0)))
