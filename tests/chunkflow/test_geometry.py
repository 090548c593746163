"""Boxes and grids, against what one counts voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.geometry import Box, Grid, Vec, scaled, vec
from tests.support.boxes import boxes, cells, corners


def voxels(box: Box) -> set[Vec]:
    (x, y, z), (a, b, c) = box.start, box.stop
    return {(i, j, k) for i in range(x, a) for j in range(y, b) for k in range(z, c)}


@given(boxes(0), boxes(0))
def test_what_two_boxes_share(a: Box, b: Box) -> None:
    shared = voxels(a) & voxels(b)
    assert voxels(a.clip(b)) == shared
    assert a.meets(b) == bool(shared)
    assert a.clip(b).voxels == len(shared)
    if not b.empty:
        assert a.contains(b) == (voxels(b) <= voxels(a))


@given(boxes(), st.integers(1, 9), st.floats(0.05, 40))
def test_voxels_of_another_size_that_meet_a_box(box: Box, factor: int, size: float) -> None:
    own = (size, size, size)
    coarse = (size * factor * (1 + 1e-9), size * factor, size * factor * (1 - 1e-9))
    factors = (factor, factor, factor)
    assert scaled(box, own, coarse) == box.coarsen(factors)
    assert scaled(box, coarse, own) == box.refine(factors)
    odd = (size * 1.37, size * 0.71, size * 2.5)
    found = scaled(box, own, odd)
    for a, b, p, q, s in zip(box.start, box.stop, found.start, found.stop, odd, strict=True):
        assert p * s <= a * size + 1e-5 * s
        assert (p + 1) * s > a * size
        assert q * s >= b * size - 1e-5 * s
        assert (q - 1) * s < b * size


@given(boxes())
def test_a_box_is_written_and_read_again(box: Box) -> None:
    assert Box.parse(str(box)) == box
    assert Box.parse(str(box).replace("_", ", ")) == box


@pytest.mark.parametrize("text", ["", "0-5", "0-5,0-5", "0-5,0-5,0-5,0-5", "a-b,0-5,0-5", "5,0-5,0-5"])
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no box"):
        Box.parse(text)


@given(boxes(), cells)
def test_coarse_voxels_cover_the_fine_ones(box: Box, factor: Vec) -> None:
    coarse = box.coarsen(factor)
    wanted = {vec(v // f for v, f in zip(place, factor, strict=True)) for place in voxels(box)}
    assert voxels(coarse) == wanted
    assert coarse.refine(factor).contains(box)


@given(boxes(), cells, corners)
def test_the_cells_of_a_grid_fill_its_bounds_once(bounds: Box, cell: Vec, anchor: Vec) -> None:
    for grid in (Grid.chunks(bounds, cell), Grid.lattice(bounds, cell), Grid(bounds, cell, anchor)):
        filled = np.zeros(bounds.size, int)
        for index in range(len(grid)):
            box = grid.box(index)
            assert not box.empty
            assert grid.index(grid.position(index)) == index
            filled[box.slices(bounds.start)] += 1
        assert (filled == 1).all()


@given(boxes(), cells, corners, boxes(0))
def test_the_cells_that_meet_a_box(bounds: Box, cell: Vec, anchor: Vec, box: Box) -> None:
    grid = Grid(bounds, cell, anchor)
    assert list(grid.indexes_meeting(box)) == [i for i in range(len(grid)) if grid.box(i).meets(box)]


@given(boxes(), cells)
def test_a_lattice_is_the_same_whatever_part_is_covered(bounds: Box, cell: Vec) -> None:
    whole = Grid.lattice(bounds.grow((5, 5, 5)), cell)
    part = Grid.lattice(bounds, cell)
    wanted = [b.clip(bounds) for b in map(whole.box, range(len(whole))) if b.meets(bounds)]
    assert [part.box(i) for i in range(len(part))] == wanted


@given(boxes(), cells, corners)
def test_blocks_of_two_cells(bounds: Box, cell: Vec, anchor: Vec) -> None:
    grid = Grid(bounds, cell, anchor)
    blocks = grid.coarser()
    assert blocks.shape == vec(-(-n // 2) for n in grid.shape)
    for index in range(len(grid)):
        parent = vec(p // 2 for p in grid.position(index))
        assert blocks.box_at(parent).contains(grid.box(index))
