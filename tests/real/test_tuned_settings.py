"""Tuned on 20 cells of one region of a real volume, and judged on all of it."""

import numpy as np
import pytest

from testbed.detection import TISSUES, Tissue
from testbed.tuning import LARGEST_GAP, Tried, boxes, gaps

each_tissue = pytest.mark.parametrize("tissue", TISSUES, ids=lambda tissue: tissue.name)


@each_tissue
def test_twenty_cells_choose_nearly_the_best_setting(tissue: Tissue) -> None:
    if not tissue.path.exists():
        pytest.skip(f"real data are absent: {tissue.path}")
    tried = Tried.of(tissue)
    found = gaps(tried)
    low, middle, high = np.quantile(found, (0.1, 0.5, 0.9))
    print(
        f"{tissue.name}: best {tried.best:.3f}; gap {middle:.3f}, from {low:.3f} to {high:.3f} (10th to 90th)"
    )
    assert middle <= LARGEST_GAP
    assert high <= 4 * LARGEST_GAP
    region = tried.region(next(boxes(tried, 1)))
    for one, again in zip(tried.peaks[:6:5], (region.ranked(d) for d in (4.0, 9.51)), strict=True):
        assert one.diameter == again.diameter
        low_corner, high_corner = (
            np.array(end) * region.size_um for end in (region.searched.start, region.searched.stop)
        )
        near = ((one.places >= low_corner) & (one.places < high_corner)).all(axis=1)
        count = min(len(again.heights), int(near.sum()))  # either ends where far too many are found
        assert count > 100
        np.testing.assert_array_equal(one.places[near][:count], again.places[:count])
        np.testing.assert_array_equal(one.heights[near][:count], again.heights[:count])
