"""Cells told from what is merely bright on real volumes, in folds of space, and on the next brain."""

from functools import cache

import numpy as np
import pytest

from chunkflow.people.learning.estimator import CARRYING
from chunkflow.people.learning.features import CARRIED
from testbed.classification import (
    Candidates,
    candidates,
    carried_over,
    judged_by_trees,
    permissive_candidates,
)
from testbed.detection import BRAINS, ONE_OF_EACH_STAIN, Peaks, Tissue

GAIN = {"c-Fos 753": 0.05, "microglia 6003": 0.0}
"""By how much F1 must rise above that of the best single threshold, which knew the truth."""
LEAST = {"c-Fos 753": 0.65, "microglia 6003": 0.93}
MEAN = {"c-Fos": 0.6, "microglia": 0.9}
"""Of the brains of a stain, each judged by what the others taught."""


def skip_if_absent(*tissues: Tissue) -> None:
    absent = [str(tissue.path) for tissue in tissues if not tissue.path.exists()]
    if absent:
        pytest.skip(f"real data are absent: {', '.join(absent)}")


@pytest.mark.parametrize("tissue", ONE_OF_EACH_STAIN, ids=lambda tissue: tissue.name)
def test_a_classifier_finds_cells_better_than_any_threshold(tissue: Tissue) -> None:
    skip_if_absent(tissue)
    best = Peaks.of(*tissue.load(), tissue.diameter).best
    found = candidates(tissue)
    score = found.f1(judged_by_trees(found))
    print(f"{tissue.name}: {len(found.rows)} candidates, F1 {score:.3f}; by a threshold {best:.3f} at best")
    assert len(found.rows) >= 4 * found.is_cell.sum()
    assert score >= max(best + GAIN[tissue.name], LEAST[tissue.name])


@cache
def permissive(stain: str) -> tuple[Candidates, ...]:
    skip_if_absent(*BRAINS[stain])
    return tuple(permissive_candidates(tissue) for tissue in BRAINS[stain])


@pytest.mark.parametrize("stain", BRAINS)
def test_what_other_brains_taught_holds_on_the_next(stain: str) -> None:
    scores = carried_over(permissive(stain), CARRYING, CARRIED)
    print(f"{stain}: " + ", ".join(f"{score:.3f}" for score in scores))
    assert np.mean(scores) >= MEAN[stain]
