"""Scores of training against their definitions; no fold sees what judges it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from chunkflow.people.learning.estimator import Recipe
from chunkflow.people.learning.scores import (
    Examples,
    Ranking,
    _made_true,
    best_threshold,
    cross_validate,
    cut_folds,
    score,
)

SVM = Recipe.of("sklearn.svm:SVC", {}, 0).build


def test_what_a_fold_holds_is_not_seen_when_it_is_judged() -> None:
    """Each object is there twice, its class drawn at random: only who has seen the twin can know it."""
    random = np.random.default_rng(0)
    features = np.repeat(random.normal(size=(150, 2)), 2, axis=0)
    classes = np.repeat(random.integers(0, 2, 150), 2)
    pairs = Examples(features, classes, ("a", "b"), np.repeat(np.arange(150), 2))
    nearest = Recipe.of("sklearn.svm:SVC", {"C": 1000, "gamma": 200}, 0).build
    alone = score(pairs, cross_validate(nearest, pairs, 5, 0, None), 0)["classes"]["b"]["roc_auc"][0]
    split = Examples(features, classes, ("a", "b"))
    leaked = score(split, cross_validate(nearest, split, 5, 0, None), 0)["classes"]["b"]["roc_auc"][0]
    assert leaked > 0.9
    assert 0.35 < alone < 0.65
    for train, test in cut_folds(pairs, 5, 0):
        assert not set(pairs.groups[train].tolist()) & set(pairs.groups[test].tolist())  # type: ignore[index]


def test_thresholds_are_chosen_within_the_training_part() -> None:
    """What a fold was judged to be does not change with the classes of that fold's own objects."""
    random = np.random.default_rng(1)
    features = random.normal(size=(200, 3))
    classes = (features[:, 0] + random.normal(size=200) > 0.8).astype(np.int64)
    groups = np.arange(200) % 4
    one = Examples(features, classes, ("no", "yes"), groups)
    first = next(test for _, test in cut_folds(one, 4, 0))
    naive = Recipe.of("sklearn.naive_bayes:GaussianNB", {}, 0).build
    judged = cross_validate(naive, one, 4, 0, 1)
    folds = [set(test.tolist()) for _, test in cut_folds(one, 4, 0)]
    swapped = classes.copy()
    swapped[first] = random.permutation(classes[first])  # as many of each class, so the folds stay
    other = Examples(features, swapped, ("no", "yes"), groups)
    assert [set(test.tolist()) for _, test in cut_folds(other, 4, 0)] == folds
    again = cross_validate(naive, other, 4, 0, 1)
    assert np.array_equal(judged.decided[first], again.decided[first])
    assert np.array_equal(judged.probabilities[first], again.probabilities[first])


def test_three_classes_are_each_scored_against_the_others() -> None:
    random = np.random.default_rng(2)
    classes = random.integers(0, 3, 240)
    features = np.eye(3)[classes] * 3 + random.normal(size=(240, 3))
    examples = Examples(features, classes, ("a", "b", "c"))
    judged = cross_validate(SVM, examples, 5, 0, None)
    found = score(examples, judged, 0)
    assert all(of["roc_auc"][0] > 0.95 for of in found["classes"].values())
    matrix = np.array(found["confusion"])
    assert matrix.sum(axis=1).tolist() == np.bincount(classes).tolist()
    assert found["accuracy"][0] == pytest.approx(np.trace(matrix) / 240)
    assert found["classes"]["b"]["recall"][0] == pytest.approx(matrix[1, 1] / matrix[1].sum())
    assert found["classes"]["b"]["precision"][0] == pytest.approx(matrix[1, 1] / matrix[:, 1].sum())


@given(seed=st.integers(0, 10_000), count=st.integers(8, 200))
@settings(max_examples=15, deadline=None)
def test_a_threshold_has_the_largest_f1_to_be_expected(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.integers(1, 40, count) / 40
    classes = (random.uniform(size=count) < probabilities).astype(np.int64)
    classes[:2] = 0, 1
    found = best_threshold(probabilities, Examples(np.zeros((count, 1)), classes, ("no", "yes")), 1)
    believed = _made_true(probabilities, classes == 1)

    def expected(threshold: float) -> float:
        taken = probabilities >= threshold
        return float(2 * believed[taken].sum() / (taken.sum() + believed.sum()))

    assert expected(found) == pytest.approx(max(expected(value) for value in probabilities))


@given(seed=st.integers(0, 10_000), count=st.integers(8, 200))
@settings(max_examples=15, deadline=None)
def test_a_threshold_of_groups_has_the_largest_mean_of_their_f1(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    groups = np.concatenate([[0, 0, 1, 1, 2], random.integers(0, 3, count - 5)])
    probabilities = random.integers(1, 40, count) / 40
    classes = (random.uniform(size=count) < probabilities ** (1 + groups)).astype(np.int64)
    classes[:4] = 0, 1, 0, 1
    examples = Examples(np.zeros((count, 1)), classes, ("no", "yes"), groups)
    found = best_threshold(probabilities, examples, 1)

    def expected(threshold: float) -> float:
        of_groups = []
        for rows in (groups == group for group in range(3)):
            if len(set(classes[rows].tolist())) == 2:
                believed = _made_true(probabilities[rows], classes[rows] == 1)
                taken = probabilities[rows] >= threshold
                of_groups.append(2 * believed[taken].sum() / (taken.sum() + believed.sum()))
        return float(np.mean(of_groups))

    assert expected(found) == pytest.approx(max(expected(value) for value in probabilities))


def test_a_crowded_brain_does_not_decide_for_all() -> None:
    """Where cells are rare the best threshold is high; a group with many of them would draw it down."""
    random = np.random.default_rng(3)
    groups = np.repeat([0, 1, 2], [4000, 400, 400])
    classes = (random.uniform(size=4800) < np.array([0.7, 0.05, 0.05])[groups]).astype(np.int64)
    probabilities = np.round(1 / (1 + np.exp(-random.normal(3.0 * classes - 1.5, 1.0))), 3)
    pooled = best_threshold(probabilities, Examples(np.zeros((4800, 1)), classes, ("no", "yes")), 1)
    grouped = best_threshold(probabilities, Examples(np.zeros((4800, 1)), classes, ("no", "yes"), groups), 1)
    assert grouped > pooled + 0.1


@given(seed=st.integers(0, 10_000), count=st.integers(2, 60))
@settings(max_examples=40, deadline=None)
def test_areas_under_the_curves_of_any_draw(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    probabilities, true = random.integers(0, 12, count) / 12, random.integers(0, 2, count) == 1
    rows = random.integers(0, count, count)
    roc, precision = Ranking.of(probabilities, true).areas(rows)
    if len(set(true[rows].tolist())) < 2:
        assert np.isnan(roc)
        assert np.isnan(precision)
    else:
        assert roc == pytest.approx(roc_auc_score(true[rows], probabilities[rows]))
        assert precision == pytest.approx(average_precision_score(true[rows], probabilities[rows]))


def test_of_nothing_there_are_no_areas() -> None:
    areas = Ranking.of(np.zeros(0), np.zeros(0, bool)).areas(np.zeros(0, np.int64))
    assert np.isnan(areas).all()
