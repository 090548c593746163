"""Cells told from what is merely bright, on real light-sheet volumes, in folds of space."""

import pytest

from testbed.classification import candidates, judged_by_trees
from testbed.detection import TISSUES, Tissue, scan

GAIN = {"c-Fos": 0.05, "microglia": 0.0}
"""By how much F1 must rise above that of the best single threshold, which knew the truth."""
LEAST = {"c-Fos": 0.65, "microglia": 0.93}


@pytest.mark.parametrize("tissue", TISSUES, ids=lambda tissue: tissue.name)
def test_a_classifier_finds_cells_better_than_any_threshold(tissue: Tissue) -> None:
    if not tissue.path.exists():
        pytest.skip(f"real data are absent: {tissue.path}")
    best, _ = scan(*tissue.load(), tissue.diameter)
    found = candidates(tissue)
    score = found.f1(judged_by_trees(found))
    print(f"{tissue.name}: {len(found.rows)} candidates, F1 {score:.3f}; by a threshold {best:.3f} at best")
    assert len(found.rows) >= 4 * found.is_cell.sum()
    assert score >= max(best + GAIN[tissue.name], LEAST[tissue.name])
