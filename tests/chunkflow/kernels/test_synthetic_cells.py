"""The cells of the synthetic tissue: the same from every box, and apart from each other."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.synthetic.cells import (
    DAPI,
    GRAIN,
    KIND,
    RADIUS,
    Tissue,
    cells_near,
    centre_voxels,
    sites_for_density,
)
from chunkflow.kernels.synthetic.light import render

START, SIZE = (-30, 5, 0), (120, 90, 60)
STOP = tuple(a + n for a, n in zip(START, SIZE, strict=True))
VOXEL = (1300, 1000, 2500)


def tissue(seed: int = 3, touching: int = 150) -> Tissue:
    sites = sites_for_density(40_000, touching / 1000)
    return Tissue(seed, START, SIZE, VOXEL, sites, glia=400, active=300, touching=touching, noise=2000)


def ranges(axis: int) -> st.SearchStrategy[tuple[int, int]]:
    points = st.integers(START[axis], STOP[axis])
    return st.lists(points, min_size=2, max_size=2, unique=True).map(lambda ab: (min(ab), max(ab)))


WHOLE_CELLS = cells_near(tissue(), START, STOP)
WHOLE = render(tissue(), WHOLE_CELLS, START, STOP)


@given(ranges(0), ranges(1), ranges(2))
@settings(deadline=None, max_examples=40)
def test_any_box_has_the_voxels_of_the_whole(x: tuple, y: tuple, z: tuple) -> None:
    start, stop = zip(x, y, z, strict=True)
    near = cells_near(tissue(), start, stop)
    where = tuple(slice(a - o, b - o) for a, b, o in zip(start, stop, START, strict=True))
    for made, expected in zip(render(tissue(), near, start, stop), WHOLE, strict=True):
        np.testing.assert_array_equal(made, expected[where])
    places = {tuple(row) for row in near.tolist()}
    inside = (
        (centre_voxels(tissue(), WHOLE_CELLS) >= start) & (centre_voxels(tissue(), WHOLE_CELLS) < stop)
    ).all(1)
    assert (
        {tuple(row) for row in WHOLE_CELLS[inside].tolist()}
        <= places
        <= {tuple(r) for r in WHOLE_CELLS.tolist()}
    )


@pytest.mark.parametrize("seed", [1, 2**63 + 5, 2**64 - 1])
def test_cells_of_two_sites_keep_apart(seed: int) -> None:
    cells = cells_near(tissue(seed, touching=0), START, STOP)
    assert len(cells) > 30
    for n, cell in enumerate(cells):
        apart = np.sqrt(((cells[n + 1 :, :3] - cell[:3]) ** 2).sum(1))
        assert (apart > cells[n + 1 :, RADIUS] + cell[RADIUS]).all()


def test_two_that_touch_do_touch_and_no_three() -> None:
    cells = cells_near(tissue(touching=1000), START, STOP)
    apart = np.sqrt(((cells[:, None, :3] - cells[None, :, :3]) ** 2).sum(-1)).astype(float)
    reach = cells[:, None, RADIUS] + cells[None, :, RADIUS]
    np.fill_diagonal(apart, np.inf)
    touching = apart < 1.06 * reach
    assert touching.sum(1).max() == 1
    assert touching.any(1).mean() > 0.8  # the others' partners lie outside of the volume
    assert (apart[touching] > 0.94 * reach[touching]).all()


def test_no_cell_outgrows_the_room_that_sites_keep_free() -> None:
    far = cells_near(tissue(), (0, 0, 0), (600, 600, 200))
    assert set(far[:, KIND]) == {0, 1}
    assert 2_500 < far[:, RADIUS].min() < far[:, RADIUS].max() < 6_400
    assert far[:, DAPI].min() > 500
    assert far[:, GRAIN].min() >= 0


def test_more_cells_need_more_sites_until_no_more_fit() -> None:
    made = [sites_for_density(density, 0.1) for density in (100, 10_000, 40_000, 60_000)]
    assert all(a < b for a, b in pairwise(made))
    with pytest.raises(ValueError, match="without overlapping"):
        sites_for_density(200_000, 0.1)
