"""Places of patches: every voxel is covered, and the same patches are found whichever box asks."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.networks.placement import FULL, MOST_SUM, Patches, bump_weights


@st.composite
def volumes(draw: st.DrawFn) -> tuple[Patches, Box]:
    """Patches of a volume, and a box in it."""
    start = vec(draw(st.integers(-50, 50)) for _ in range(3))
    size = vec(draw(st.integers(1, 60)) for _ in range(3))
    patch = vec(draw(st.integers(1, 24)) for _ in range(3))
    overlap = vec(draw(st.integers(0, p - 1)) for p in patch)
    low = vec(draw(st.integers(0, n - 1)) for n in size)
    high = vec(draw(st.integers(a + 1, n)) for a, n in zip(low, size, strict=True))
    volume = Box.of_size(size, start)
    return Patches(volume, patch, overlap), Box(low, high).shift(start)


def starts_along(patches: Patches, axis: int) -> list[int]:
    """The rule as it is told: from the first voxel, one every stride, the last ending with the volume."""
    size, patch = patches.volume.size[axis], patches.patch[axis]
    stride, first = patch - patches.overlap[axis], patches.volume.start[axis]
    if size <= patch:
        return [first + (size - patch) // 2]
    regular = [first + n for n in range(0, size - patch, stride)]
    return [*regular, first + size - patch]


@given(volumes())
def test_any_box_is_given_the_patches_that_meet_it(drawn: tuple[Patches, Box]) -> None:
    patches, box = drawn
    expected = [
        Box.of_size(patches.patch, (x, y, z))
        for z in starts_along(patches, 2)
        for y in starts_along(patches, 1)
        for x in starts_along(patches, 0)
    ]
    assert list(patches.meeting(patches.volume)) == expected
    assert prod(patches.shape) == len(expected)
    met = [patch for patch in expected if patch.meets(box)]
    assert list(patches.meeting(box)) == met
    assert patches.count(box) == len(met)
    window = patches.window(box)
    assert window.start == vec(min(p.start[a] for p in met) for a in range(3))
    assert window.stop == vec(max(p.stop[a] for p in met) for a in range(3))


@given(volumes())
def test_every_voxel_is_covered_and_sums_fit(drawn: tuple[Patches, Box]) -> None:
    patches, _ = drawn
    bump = bump_weights(patches.patch, patches.overlap).astype(np.int64)
    sums = np.zeros(patches.volume.size, np.int64)
    for patch in patches.meeting(patches.volume):
        inside = patch.clip(patches.volume)
        sums[inside.slices(patches.volume.start)] += bump[inside.slices(patch.start)]
    assert sums.min() >= 1
    assert sums.max() * FULL <= MOST_SUM


@given(volumes(), st.tuples(*[st.integers(1, 30)] * 3))
def test_repeats_are_counted(drawn: tuple[Patches, Box], cell: Vec) -> None:
    patches, _ = drawn
    grid = Grid.chunks(patches.volume, cell)
    computed = sum(patches.count(grid.box(index)) for index in range(len(grid)))
    assert np.isclose(patches.repeats(grid), computed / prod(patches.shape))


def test_repeats_are_those_of_the_formula() -> None:
    """(C/S + P/S - 1) / (C/S) along each axis, but for the borders of the volume."""
    patches = Patches(Box.of_size((8192, 8192, 8192)), (64, 64, 64), (32, 32, 32))
    for cell, expected in ((128, 1.95), (256, 1.42), (512, 1.20)):
        grid = Grid.chunks(patches.volume, (cell, cell, cell))
        assert abs(patches.repeats(grid) - expected) < 0.25 * (expected - 1)
