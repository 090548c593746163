"""Scores against their definitions, done slowly."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from chunkflow.kernels.scoring import scores
from chunkflow.kernels.scoring.matching import match_points
from chunkflow.kernels.scoring.scores import (
    bootstrap_interval,
    closest_pairs,
    precision_recall,
    ranked_matches,
)

TOLERANCE = 2.5
Points = NDArray[np.float64]


def points(most: int) -> st.SearchStrategy[Points]:
    counts = st.integers(0, most)
    return counts.flatmap(lambda n: arrays(np.int64, (n, 3), elements=st.integers(0, 6))).map(
        lambda found: found.astype(np.float64)
    )


@settings(deadline=None)
@given(points(30), points(30))
def test_the_first_n_points_raise_as_many_matches_as_they_can_have(found: Points, true: Points) -> None:
    raises = ranked_matches(found, true, TOLERANCE)
    for count in range(len(found) + 1):
        assert raises[:count].sum() == match_points(found[:count], true, TOLERANCE).matched


@settings(max_examples=60, deadline=None)
@given(points(4), points(4))
def test_pairs_are_as_many_as_there_can_be_and_then_the_closest(found: Points, true: Points) -> None:
    pairs = closest_pairs(found, true, TOLERANCE)
    assert len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == len(pairs)
    distance = np.linalg.norm(found[:, None] - true, axis=2)
    count = match_points(found, true, TOLERANCE).matched
    assert len(pairs) == count
    choices = [
        distance[list(rows), list(columns)]
        for rows in combinations(range(len(found)), count)
        for columns in permutations(range(len(true)), count)
    ]
    least = min(one.sum() for one in choices if (one <= TOLERANCE).all())
    assert distance[tuple(pairs.T)].sum() == pytest.approx(least)
    assert (distance[tuple(pairs.T)] <= TOLERANCE).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 2**20))
def test_average_precision_is_that_of_a_classifier_where_each_point_has_one_partner(
    count: int, levels: int, seed: int
) -> None:
    """Then a match is a matter of the point alone, and all that is true may be found."""
    random = np.random.default_rng(seed)
    places = 10.0 * np.arange(3 * count).reshape(count, 3)
    is_true = random.random(count) < 0.5
    is_true[0] = True
    scores = random.integers(0, levels, count).astype(np.float64)
    curve = precision_recall(places, scores, places[is_true], TOLERANCE)
    assert curve.average_precision == pytest.approx(average_precision_score(is_true, scores))
    assert curve.f1[-1] == pytest.approx(2 * is_true.sum() / (count + is_true.sum()))


@settings(max_examples=40, deadline=None)
@given(points(30), points(30))
def test_groups_too_large_for_a_table_are_paired_as_well(found: Points, true: Points) -> None:
    small = closest_pairs(found, true, TOLERANCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "MOST_IN_TABLE", 0)
        large = closest_pairs(found, true, TOLERANCE)
    assert len(np.unique(large[:, 0])) == len(np.unique(large[:, 1])) == len(large) == len(small)
    length = [
        np.linalg.norm(found[pairs[:, 0]] - true[pairs[:, 1]], axis=1).sum() for pairs in (small, large)
    ]
    assert length[0] == pytest.approx(length[1])


def test_nothing_found_has_no_precision_to_average() -> None:
    nothing, one = np.empty((0, 3)), np.zeros((1, 3))
    assert precision_recall(nothing, np.empty(0), one, 1.0).average_precision == 0
    assert precision_recall(one, np.ones(1), nothing, 1.0).average_precision == 0
    assert len(closest_pairs(nothing, one, 1.0)) == len(closest_pairs(one, nothing, 1.0)) == 0


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of the share of 150 flips of a coin: 19 in 20 intervals hold its bias."""
    random = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        flips = random.random(150) < 0.3
        interval = bootstrap_interval(
            lambda drawn, flips=flips: float(flips[drawn].mean()), 150, seed, repeats=300
        )
        held += interval.low <= 0.3 <= interval.high
    assert 0.9 <= held / 200 <= 0.99


def test_items_that_belong_together_are_drawn_together() -> None:
    groups = np.repeat([5, 2, 9], [40, 30, 30])
    values = groups == 2

    def whole_groups(drawn: NDArray[np.int64]) -> float:
        for group, count in ((5, 40), (2, 30), (9, 30)):
            assert (groups[drawn] == group).sum() % count == 0
        return float(values[drawn].mean())

    together = bootstrap_interval(whole_groups, 100, 3, groups)
    apart = bootstrap_interval(lambda drawn: float(values[drawn].mean()), 100, 3)
    assert together.high - together.low > 2 * (apart.high - apart.low)
    assert bootstrap_interval(whole_groups, 100, 3, groups) == together


def test_draws_without_a_score_are_left_out() -> None:
    def of_both_classes(drawn: NDArray[np.int64]) -> float:
        return 0.5 if 0 in drawn else float("nan")

    interval = bootstrap_interval(of_both_classes, 20, 0)
    assert (interval.low, interval.high) == (0.5, 0.5)
    assert np.isnan(bootstrap_interval(lambda drawn: float("nan"), 3, 0).low)
    assert np.isnan(bootstrap_interval(lambda drawn: 1.0, 0, 0).high)
