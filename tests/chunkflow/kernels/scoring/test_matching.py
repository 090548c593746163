"""Matching of points, against all possible matchings of few."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.scoring.matching import Score, match_points, matched_pairs

POINTS = st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=5)


def most(found: np.ndarray, true: np.ndarray, tolerance: float) -> int:
    """The largest matching, by trying them all."""
    short, long = sorted((found, true), key=len)
    best = 0
    for order in permutations(range(len(long)), len(short)):
        apart = np.linalg.norm(short - long[list(order)], axis=1)
        best = max(best, int((apart <= tolerance).sum()))
    return best


@given(POINTS, POINTS, st.sampled_from([0.0, 1.0, 1.5, 3.0]))
@settings(deadline=None, max_examples=60)
def test_as_many_pairs_as_there_can_be(one: list, two: list, tolerance: float) -> None:
    found, true = (np.array(points, float).reshape(-1, 3) for points in (one, two))
    pairs = matched_pairs(found, true, tolerance)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert (np.linalg.norm(found[pairs[:, 0]] - true[pairs[:, 1]], axis=1) <= tolerance).all()
    assert len(pairs) == most(found, true, tolerance)


def test_taking_the_nearest_first_would_lose_one() -> None:
    found = np.array([[0.0, 0, 0], [4, 0, 0]])
    true = np.array([[3.0, 0, 0], [8, 0, 0]])
    assert match_points(found, true, 4.0).matched == 2


@pytest.mark.parametrize(
    ("score", "precision", "recall", "f1"),
    [
        (Score(4, 8, 2), 0.5, 0.25, 1 / 3),
        (Score(0, 5, 0), 1, 0, 0),
        (Score(5, 0, 0), 0, 1, 0),
        (Score(0, 0, 0), 1, 1, 1),
    ],
)
def test_scores(score: Score, precision: float, recall: float, f1: float) -> None:
    assert (score.precision, score.recall, score.f1) == pytest.approx((precision, recall, f1))
