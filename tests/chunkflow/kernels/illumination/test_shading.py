"""Uneven light: found again where it was put, and gone after the correction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.illumination.shading import (
    correct,
    estimate_shading,
    overlap_levels,
    resize_field,
    solve_gains,
    solve_light,
)

Array = np.ndarray[Any, Any]


def vignette(shape: tuple[int, int], x: float, y: float, depth: float = 0.3) -> Array:
    u, v = (np.linspace(-1, 1, n) for n in shape)
    far = (u[:, None] - x) ** 2 + (v[None, :] - y) ** 2
    field = 1 - depth * far / far.max()
    return np.asarray(field / field.mean())


def tissue(shape: tuple[int, int, int], seed: int, slope: float = 0.0) -> Array:
    """Planes of noise-free tissue: a level with bright round cells upon it, brighter towards one side."""
    rng = np.random.default_rng(seed)
    _, a, b = shape
    planes = np.full(shape, 300.0) * (1 + slope * np.linspace(-0.5, 0.5, a))[None, :, None]
    u, v = np.arange(a)[:, None], np.arange(b)[None, :]
    for plane in planes:
        for _ in range(round(a * b / 1200)):
            x, y, size = rng.uniform(0, a), rng.uniform(0, b), rng.uniform(3, 5)
            plane += rng.uniform(400, 1500) * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * (size / 2) ** 2))
    return planes


def seen(light: Array, field: Array, gains: Array, dark: float, seed: int) -> Array:
    """Planes as a microscope shows them, with shot noise."""
    rng = np.random.default_rng(seed)
    bright = light * field
    bright = bright + 3 * np.sqrt(bright) * rng.standard_normal(light.shape)
    return np.asarray(bright * gains[:, None, None] + dark, np.float32)


@pytest.mark.parametrize(("x", "y"), [(0.2, -0.15), (-0.3, 0.1)])
@pytest.mark.parametrize("dark", [0.0, 100.0])
def test_field_and_dark_are_found_under_cells_and_noise(x: float, y: float, dark: float) -> None:
    field = vignette((120, 90), x, y)
    gains = np.random.default_rng(3).uniform(0.8, 1.2, 150)
    found = estimate_shading(seen(tissue((150, 120, 90), 1), field, gains, dark, 2))
    assert found.flat.shape == found.dark.shape == (120, 90)
    assert found.flat.dtype == found.dark.dtype == np.float32
    assert abs(found.flat.mean() - 1) < 1e-3
    assert np.abs(found.dark - dark).max() < 25
    assert np.abs(found.flat / field - 1).max() < 0.02


def test_dark_is_left_at_0_where_planes_do_not_tell_it() -> None:
    """All planes at one level: light and dark cannot be told apart."""
    field = vignette((90, 90), 0, 0)
    planes = seen(tissue((90, 90, 90), 1), field, np.ones(90), 100, 2)
    assert not estimate_shading(planes).dark.any()


def test_even_light_stays_even() -> None:
    found = estimate_shading(seen(tissue((60, 64, 64), 4), np.ones((64, 64)), np.ones(60), 0, 5))
    assert np.abs(found.flat - 1).max() < 0.01
    assert not found.dark.any()


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 40), (40, 20, 20), (2, 200, 90)])
def test_planes_that_show_nothing_have_an_even_field(value: float, shape: tuple[int, int, int]) -> None:
    found = estimate_shading(np.full(shape, value, np.float32))
    assert np.array_equal(found.flat, np.ones(shape[1:]))
    assert np.array_equal(found.dark, np.zeros(shape[1:]))


@pytest.mark.parametrize("planes", [np.zeros((0, 4, 4)), np.zeros((4, 4)), np.full((3, 4, 4), np.nan)])
def test_what_is_no_stack_of_planes_is_refused(planes: Array) -> None:
    with pytest.raises(ValueError, match="planes"):
        estimate_shading(planes.astype(np.float32))


@given(
    st.tuples(st.integers(2, 40), st.integers(2, 40)),
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
)
@settings(max_examples=50, deadline=None)
def test_a_plane_stays_a_plane_at_any_size(
    had: tuple[int, int], wanted: tuple[int, int], slope: tuple[float, float]
) -> None:
    def ramp(shape: tuple[int, int]) -> Array:
        u, v = ((np.arange(n) + 0.5) / n for n in shape)
        return np.asarray(5 + slope[0] * u[:, None] + slope[1] * v[None, :])

    assert np.abs(resize_field(ramp(had), wanted) - ramp(wanted)).max() < 1e-5


def test_a_field_of_one_pixel_spreads() -> None:
    assert np.array_equal(resize_field(np.full((1, 1), 3.0), (2, 3)), np.full((2, 3), 3.0))


def test_correction_undoes_what_the_microscope_does() -> None:
    rng = np.random.default_rng(1)
    light = rng.uniform(0, 1000, (7, 5, 4))
    flat, dark = rng.uniform(0.5, 1.5, (7, 5)), rng.uniform(0, 50, (7, 5))
    tile = flat[:, :, None] * (1.2 * light + 8) + dark[:, :, None]
    made = correct(tile, flat.astype(np.float32), dark.astype(np.float32), 1.2, 8)
    assert made.dtype == np.float32
    assert np.abs(made - light).max() < 1e-2
    whole = np.full((7, 5, 4), 65535, np.uint16)
    assert np.all(correct(whole, np.ones((7, 5), np.float32), np.zeros((7, 5), np.float32)) == 65535)


def links_of(columns: int, rows: int) -> Array:
    across = [(r * columns + c, r * columns + c + 1) for r in range(rows) for c in range(columns - 1)]
    down = [(r * columns + c, (r + 1) * columns + c) for r in range(rows - 1) for c in range(columns)]
    return np.array(across + down)


@given(st.integers(2, 5), st.integers(2, 5), st.integers(0, 10_000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_gains_and_offsets_are_found_despite_a_bad_link(
    columns: int, rows: int, seed: int, spoiled: bool
) -> None:
    rng = np.random.default_rng(seed)
    pairs, tiles = links_of(columns, rows), columns * rows
    gain = np.exp(rng.uniform(-0.2, 0.2, tiles))
    gain /= np.exp(np.log(gain).mean())
    offset = rng.uniform(-10, 10, tiles)
    offset -= offset.mean()
    light, width = rng.uniform(200, 400, len(pairs)), rng.uniform(50, 200, len(pairs))
    means = gain[pairs] * light[:, None] + offset[pairs]
    spreads = gain[pairs] * width[:, None]
    if spoiled and min(columns, rows) >= 3:  # a link of an inner tile is part of two loops, so it is outvoted
        bad = int(rng.choice([n for n, (one, _) in enumerate(pairs) if one == columns + 1]))
        means[bad, 0], spreads[bad, 0] = means[bad, 0] * 3, spreads[bad, 0] / 5
    found, moved = solve_gains(pairs, means, spreads, np.ones(len(pairs)), tiles)
    assert np.abs(found - gain).max() < 1e-3
    assert np.abs(moved - offset).max() < 0.5
    assert abs(np.log(found).mean()) < 1e-3
    assert abs(moved.mean()) < 0.01


def test_tiles_without_links_or_contrast_keep_gain_1() -> None:
    pairs, means = np.array([[0, 1], [2, 3]]), np.array([[100.0, 110.0], [50.0, 50.0]])
    gain, offset = solve_gains(pairs, means, np.array([[20.0, 40.0], [0.0, 0.0]]), np.array([1.0, 0.0]), 5)
    assert gain[2:].tolist() == [1, 1, 1]
    assert gain[1] / gain[0] == pytest.approx(2, rel=1e-3)
    assert offset[2:].tolist() == pytest.approx([offset[2]] * 3)
    none, still = solve_gains(np.empty((0, 2), int), np.empty((0, 2)), np.empty((0, 2)), np.empty(0), 3)
    assert none.tolist() == [1, 1, 1]
    assert not still.any()


def test_overlaps_tell_gain_and_offset_through_noise() -> None:
    rng = np.random.default_rng(7)
    light = np.moveaxis(tissue((40, 90, 14), 8), 0, 2)

    def tile(gain: float, offset: float) -> Array:
        noisy = light + 3 * np.sqrt(light) * rng.standard_normal(light.shape)
        return np.asarray(noisy * gain + offset, np.float32)

    means, spreads = overlap_levels(tile(0.8, 10), tile(1.2, -10))
    assert spreads[1] / spreads[0] == pytest.approx(1.5, rel=0.02)
    assert means[0] == pytest.approx(light.mean() * 0.8 + 10, rel=0.01)


@pytest.mark.parametrize("slope", [-0.3, 0.0, 0.3])
def test_what_all_tiles_tissue_shares_is_kept_out_of_the_field(slope: float) -> None:
    """Tissue brighter towards one side, over the whole grid: it is told from the field."""
    columns, size, step = 5, 60, 54
    field = vignette((size, size), 0.2, -0.1)
    gain = np.exp(np.array([0.1, -0.1, -0.05, -0.1, 0.1, *[0.0] * 20]))
    gain /= np.exp(np.log(gain).mean())
    whole = step * (columns - 1) + size
    level = np.exp(slope * (np.arange(whole) - whole / 2) / size)[:, None] * np.ones(whole)[None, :]
    corners = np.array([[c * step, r * step] for r in range(columns) for c in range(columns)], float)
    rise = np.exp(slope * (np.arange(size) / size - 0.5))[:, None]
    flat = np.asarray(field * rise / (field * rise).mean(), np.float32)  # as planes alone would tell it
    pairs = links_of(columns, columns)
    means, centres = [], []
    for pair in pairs:
        low, high = corners[pair].max(axis=0), corners[pair].min(axis=0) + size
        seen_by = []
        for tile in pair:
            inside = tuple(
                slice(int(a - c), int(b - c)) for a, b, c in zip(low, high, corners[tile], strict=True)
            )
            there = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
            seen_by.append(float((level[there] * field[inside] * gain[tile] * 300 / flat[inside]).mean()))
        means.append(seen_by)
        centres.append((low + high) / 2 - corners[pair])
    links = np.array(means)
    made, found, offset = solve_light(
        flat, pairs, links, links / 3, np.ones(len(pairs)), corners, np.array(centres)
    )
    assert np.abs(made / field - 1).max() < 0.01
    assert np.abs(found / gain - 1).max() < 0.02
    assert np.abs(offset).max() < 1
