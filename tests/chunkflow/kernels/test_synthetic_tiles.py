"""The tiles of a scan: where they may lie, how they are lit, and that the light can be made even again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.illumination.shading import correct, estimate_shading, overlap_levels, solve_light
from chunkflow.kernels.synthetic.cells import Tissue, cells_near, centre_voxels, sites_for_density
from chunkflow.kernels.synthetic.light import render
from chunkflow.kernels.synthetic.tiles import Microscope, expose, snake

Array = np.ndarray[Any, Any]


def pairs_of(columns: int, rows: int) -> list[tuple[int, int, int]]:
    """Neighbours and the axis along which they follow each other."""
    tiles = range(rows * columns)
    across = [(n, n + 1, 0) for n in tiles if n % columns < columns - 1]
    return across + [(n, n + columns, 1) for n in tiles if n + columns in tiles]


@given(
    seed=st.integers(0, 10**9),
    columns=st.integers(1, 6),
    rows=st.integers(1, 6),
    size=st.tuples(st.integers(40, 300), st.integers(40, 300), st.integers(1, 80)),
    overlap=st.sampled_from([(0.05, 0.1), (0.1, 0.1), (0.03, 0.3), (0.0, 0.5)]),
    jitter=st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 3)),
)
@settings(max_examples=60, deadline=None)
def test_neighbours_overlap_as_asked_and_jitter_is_kept(
    seed: int, columns: int, rows: int, size: Any, overlap: Any, jitter: Any
) -> None:
    scope = Microscope(seed, columns, rows, size, overlap, jitter)
    places = scope.places()
    assert (places >= 0).all()
    assert (places + size <= scope.most).all()
    for one, two, axis in pairs_of(columns, rows):
        shift = places[two] - places[one]
        shared = size[axis] - shift[axis]
        assert np.floor(overlap[0] * size[axis]) <= shared <= np.ceil(overlap[1] * size[axis])
        assert abs(shift[1 - axis]) <= 2 * jitter[1 - axis]
        assert abs(shift[2]) <= 2 * jitter[2]
    xs, ys = scope.steps
    nominal = np.array([[xs[n % columns], ys[n // columns], 0] for n in range(len(places))])
    assert (abs(places - nominal - jitter) <= jitter).all()


def test_jitter_is_used_and_the_seed_decides() -> None:
    one, two = (Microscope(seed, 5, 5, (192, 192, 64), (0.05, 0.1), (8, 8, 3)).places() for seed in (1, 2))
    assert (one != two).any(axis=1).mean() > 0.9
    for axis in range(3):
        along = one.reshape(5, 5, 3)[..., axis]
        across = along.std(axis=0 if axis == 0 else 1)
        assert across.max() > 1


def test_the_stage_goes_to_and_fro() -> None:
    assert snake(3, 2) == [0, 1, 2, 5, 4, 3]
    assert snake(1, 3) == [0, 1, 2]


def test_fields_differ_by_channel_and_are_off_the_centre() -> None:
    scope = Microscope(1, 5, 5, (80, 60, 4), (0.05, 0.1), (8, 8, 3))
    one, two = scope.flat(0, 0.3), scope.flat(1, 0.3)
    for field in (one, two):
        assert field.shape == (80, 60)
        assert abs(field.mean() - 1) < 1e-3
        assert field.min() / field.max() == pytest.approx(0.7, abs=0.02)
    assert np.abs(one - two).max() > 0.03
    assert np.abs(one - one[::-1]).max() > 0.01
    assert np.array_equal(scope.flat(0, 0.0), np.ones((80, 60)))


def test_light_is_shaded_then_noisy_then_amplified() -> None:
    light = np.full((50, 40, 30), 400, np.uint16)
    flat = np.linspace(0.5, 1.5, 50 * 40, dtype=np.float32).reshape(50, 40)
    made = expose(light, flat, 1.2, 7.0, 0.0, np.uint64(5))
    assert made.shape == (30, 40, 50)
    assert np.array_equal(made[3].T, np.floor(400 * flat.astype(float) * 1.2 + 7.5))
    noisy = expose(light, np.ones_like(flat), 1.5, 0.0, 3.0, np.uint64(5))
    again = expose(light, np.ones_like(flat), 1.5, 0.0, 3.0, np.uint64(6))
    assert noisy.mean() == pytest.approx(600, rel=0.01)
    assert noisy.std() == pytest.approx(3 * 20 * 1.5, rel=0.03)
    assert abs(np.corrcoef(noisy.ravel(), again.ravel())[0, 1]) < 0.02
    full = expose(np.full((2, 2, 2), 65_535, np.uint16), np.ones((2, 2), np.float32), 2, 0, 50, np.uint64(1))
    assert full.max() == 65_535


def scanned(channel: int, seed: int) -> tuple[Microscope, list[Array], Array, Array, Array]:
    """A noise-free volume, the tiles of it, their true light, and the cells' centres."""
    scope = Microscope(seed, 5, 5, (112, 112, 24), (0.08, 0.12), (3, 3, 1))
    extent = scope.most
    tissue = Tissue(
        seed, (0, 0, 0), extent, (1000, 1000, 2000), sites_for_density(40_000, 0.1), 400, 500, 100, 0
    )
    cells = cells_near(tissue, (0, 0, 0), extent)
    volume = render(tissue, cells, (0, 0, 0), extent)[channel]
    lights = scope.lights(channel, 0.2, 10)
    tiles = []
    for n, place in enumerate(scope.places()):
        inside = tuple(slice(int(a), int(a) + s) for a, s in zip(place, scope.size, strict=True))
        gain, offset = lights[n]
        light = expose(
            volume[inside], scope.flat(channel, 0.3), gain, offset, 3.0, scope.noise_key(channel, n)
        )
        tiles.append(light.transpose(2, 1, 0))
    return scope, tiles, volume, lights, centre_voxels(tissue, cells)


@pytest.mark.parametrize(("channel", "seed"), [(0, 1), (1, 5)])
def test_nuclei_at_the_edges_of_tiles_are_as_bright_as_in_the_middle(channel: int, seed: int) -> None:
    scope, tiles, volume, _, centres = scanned(channel, seed)
    places, size = scope.places(), np.array(scope.size)
    planes = np.concatenate([np.moveaxis(tile[:, :, ::3], 2, 0) for tile in tiles]).astype(np.float32)
    shading = estimate_shading(planes)
    links = pairs_of(5, 5)
    levels, middles = [], []
    for one, two, _ in links:
        low = np.maximum(places[one], places[two])
        high = np.minimum(places[one], places[two]) + size
        parts = []
        for n in (one, two):
            inside = tuple(slice(a, b) for a, b in zip(low - places[n], high - places[n], strict=True))
            parts.append(correct(tiles[n][inside], shading.flat[inside[:2]], shading.dark[inside[:2]]))
        levels.append(overlap_levels(*parts))
        middles.append([((low + high) / 2 - places[n])[:2] for n in (one, two)])
    flat, gain, offset = solve_light(
        shading.flat,
        np.array([link[:2] for link in links]),
        np.array([means for means, _ in levels]),
        np.array([spreads for _, spreads in levels]),
        np.ones(len(links)),
        places[:, :2].astype(float),
        np.array(middles),
    )
    assert np.abs(flat / scope.flat(channel, 0.3) - 1).max() < 0.025
    shares: dict[str, list[float]] = {"edge": [], "middle": []}
    before: dict[str, list[float]] = {"edge": [], "middle": []}
    for n, tile in enumerate(tiles):
        even = correct(tile, flat, shading.dark, gain[n], offset[n])
        inside = tuple(slice(int(a), int(a + b)) for a, b in zip(places[n], size, strict=True))
        for centre in centres - places[n]:
            if (centre < 2).any() or (centre >= size - 2).any():
                continue
            nucleus = tuple(slice(c - 2, c + 3) for c in centre)
            far = np.abs(centre[:2] / size[:2] * 2 - 1).max()
            if far > 0.8 or far < 0.5:
                where, light = "edge" if far > 0.8 else "middle", volume[inside][nucleus].mean()
                shares[where].append(float(even[nucleus].mean() / light))
                before[where].append(float(tile[nucleus].mean() / light))
    assert min(len(found) for found in shares.values()) > 80
    assert np.mean(before["edge"]) / np.mean(before["middle"]) < 0.92
    assert np.mean(shares["edge"]) / np.mean(shares["middle"]) == pytest.approx(1, abs=0.03)
