"""The choice of a setting: its counts against counting one by one, and where on a surface it lies."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.scoring.matching import match_points
from chunkflow.kernels.scoring.tuning import MOST_FOUND, Prior, ScoreSurface, rank, readable

TOLERANCE = 2.0
WIDE = Prior(8.0, 2.0 ** (100 / 32 + 5))
"""In the middle of the surfaces below."""


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**20), st.integers(0, 20), st.integers(1, 12))
def test_counts_are_those_of_each_contrast_by_itself(seed: int, peaks: int, cells: int) -> None:
    random = np.random.default_rng(seed)
    places, marked = random.random((peaks, 3)) * 12, random.random((cells, 3)) * 12
    heights = random.integers(1, 12, peaks).astype(np.float32)
    inside = random.random(peaks) < 0.8
    ranked = rank(8.0, places, heights, inside, marked, TOLERANCE)
    contrasts = np.unique([0.5, *heights.astype(np.float64), 3.5, 99.0])
    for contrast, right, wrong in zip(contrasts, *ranked.counts(contrasts), strict=True):
        taken = heights >= contrast
        score = match_points(places[taken], marked, TOLERANCE)
        assert right == score.matched
        # What is beside the region is never wrong, and of the others all but those that are right.
        assert wrong >= (taken & inside).sum() - right
        assert wrong <= (taken & inside).sum()
        if inside.all():
            assert wrong == score.found - score.matched


def test_peaks_far_more_than_cells_are_left_out() -> None:
    random = np.random.default_rng(1)
    places, heights = random.random((500, 3)) * 50, random.random(500).astype(np.float32)
    ranked = rank(8.0, places, heights, np.ones(500, bool), places[:2], TOLERANCE)
    assert len(ranked.heights) == MOST_FOUND * 2
    assert ranked.heights.min() >= np.sort(heights)[-MOST_FOUND * 2]


def surface(f1: np.ndarray, cells: int) -> ScoreSurface:
    """One whose F1 is as given, rounded to whole peaks."""
    right = np.full(f1.shape, cells)
    wrong = np.round(2 * cells / f1 - 2 * cells).astype(int)
    diameters = 4 * 2.0 ** (np.arange(f1.shape[0]) / 4)
    return ScoreSurface(diameters, 2.0 ** (np.arange(f1.shape[1]) / 32 + 5), right, wrong, cells)


def test_the_middle_of_a_plateau_is_chosen_not_a_lucky_point_at_its_edge() -> None:
    f1 = np.full((9, 200), 0.2)
    f1[2:7, 60:141] = 0.70
    f1[2, 60] = 0.72
    diameter, contrast = surface(f1, 20).chosen(WIDE)
    assert diameter == 8.0
    assert abs(np.log2(contrast / WIDE.contrast)) < 0.1


def octaves(setting: tuple[float, float], other: tuple[float, float]) -> float:
    return float(np.abs(np.log2(np.array(setting) / np.array(other))).max())


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 8), st.integers(0, 199), st.integers(0, 8), st.integers(0, 199))
def test_few_cells_stay_at_the_prior_and_many_leave_it(row: int, column: int, at: int, best: int) -> None:
    """F1 falls off gently on all sides of the best setting."""
    diameters, contrasts = 4 * 2.0 ** (np.arange(9) / 4), 2.0 ** (np.arange(200) / 32 + 5)
    there = float(diameters[at]), float(contrasts[best])
    away = np.maximum(
        np.abs(np.log2(diameters / there[0]))[:, None], np.abs(np.log2(contrasts / there[1]))[None]
    )
    prior = Prior(float(diameters[row]), float(contrasts[column]))
    far = octaves((prior.diameter, prior.contrast), there)
    left = [
        octaves(surface(0.8 - 0.03 * np.minimum(away, 8), cells).chosen(prior), there)
        for cells in (3, 20_000)
    ]
    assert left[1] <= 0.5
    assert left[0] >= left[1] - 0.5
    if far > 2:
        assert left[0] > far / 2  # more than half of the way is not gone for three cells


def test_without_any_difference_the_prior_decides() -> None:
    """A diameter that is not on the steps of the others, and a contrast between two steps."""
    flat = surface(np.full((9, 400), 0.5), 20)
    for diameter, contrast in ((6.73, 300.0), (9.51, 2000.0)):
        assert octaves(flat.chosen(Prior(diameter, contrast)), (diameter, contrast)) < 0.3


def test_more_cells_make_the_choice_surer() -> None:
    """A peak well above a slope is followed once there are cells enough to believe it."""
    steps = np.arange(200)
    f1 = np.stack([0.6 + 0.12 * np.exp(-(((steps - 170) / 8) ** 2)) - 0.0005 * np.abs(steps - 60)] * 3)
    prior = Prior(4.76, 2.0 ** (60 / 32 + 5))
    far = [abs(np.log2(surface(f1, cells).chosen(prior)[1]) - (170 / 32 + 5)) for cells in (10, 4000)]
    assert far[0] > 1
    assert far[1] < 0.15


def test_numbers_are_such_as_people_write() -> None:
    assert (readable(617.8), readable(0.0012349), readable(5.6568)) == (618.0, 0.00123, 5.66)
