"""Tuned on 20 cells of one region of a real volume, and judged on all of it."""

import numpy as np
import pytest

from testbed.detection import TISSUES, Tissue
from testbed.tuning import LARGEST, Tried, boxes, losses

each_tissue = pytest.mark.parametrize("tissue", TISSUES, ids=lambda tissue: tissue.name)


@each_tissue
def test_twenty_cells_never_ruin_what_is_automatic(tissue: Tissue) -> None:
    if not tissue.path.exists():
        pytest.skip(f"real data are absent: {tissue.path}")
    tried = Tried.of(tissue)
    found = losses(tried)
    low, middle, high = np.quantile(found.any, (0.1, 0.5, 0.9))
    print(f"{tissue.name}: best {tried.best:.3f}; loss {middle:.3f}, {low:.3f} to {high:.3f} (10th to 90th)")
    assert found.any.max() <= LARGEST
    assert np.median(found.automatic) <= 1e-9


def test_a_peak_is_the_same_in_every_window() -> None:
    tissue = TISSUES[0]
    if not tissue.path.exists():
        pytest.skip(f"real data are absent: {tissue.path}")
    tried = Tried.of(tissue)
    region = tried.region(next(boxes(tried, 1)))
    of = {one.diameter: one for one in tried.peaks}
    low, high = (np.array(end) * region.size_um for end in (region.searched.start, region.searched.stop))
    for diameter in (4.0, 9.51):
        one, again = of[diameter], region.ranked(diameter)
        near = ((one.places >= low) & (one.places < high)).all(axis=1)
        count = min(len(again.heights), int(near.sum()))  # either ends where far too many are found
        assert count > 100
        np.testing.assert_array_equal(one.places[near][:count], again.places[:count])
        np.testing.assert_array_equal(one.heights[near][:count], again.heights[:count])
