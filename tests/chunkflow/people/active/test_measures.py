"""What a round is said to have brought, against its definitions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score

from chunkflow.people.learning.active.effort import minutes_of
from chunkflow.people.learning.active.measures import judge_examples, kappa, mean_f1, outlook, score_random
from chunkflow.people.learning.active.models import learnable
from chunkflow.people.learning.estimator import DEFAULT, Recipe
from chunkflow.people.learning.scores import Examples
from chunkflow.people.review.log.edits import Edit

CLASSES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=40)


@given(CLASSES)
@settings(max_examples=150, deadline=None)
def test_kappa_and_f1_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    if len(np.unique(np.concatenate([first, second]))) > 1:
        expected = cohen_kappa_score(first, second)
        assert kappa(first.astype(str), second.astype(str)) == pytest.approx(expected)
    there = sorted({*first.tolist(), *second.tolist()})
    wanted = np.mean(f1_score(first, second, labels=there, average=None, zero_division=0.0))
    assert mean_f1(first, second, there) == pytest.approx(wanted)


def test_the_outlook_follows_the_curve_of_the_rounds() -> None:
    labels = [20, 40, 80, 160]
    f1 = [0.9 - 1.5 / np.sqrt(n) for n in labels]
    assert outlook(labels, f1, 100) == pytest.approx(1.5 / np.sqrt(160) - 1.5 / np.sqrt(260))
    assert outlook(labels[:2], f1[:2], 100) is None
    assert outlook(labels, f1[::-1], 100) == 0.0


def test_only_objects_at_random_are_scored() -> None:
    """Those that were chosen are hard: they alone would make the model look worse than it is."""
    random = np.random.default_rng(3)
    easy, hard = random.normal(size=(60, 2)) * 2, random.normal(size=(60, 2)) * 0.05
    features = np.concatenate([easy, hard])
    classes = (features[:, 0] > 0).astype(np.int64)
    classes[60:] = random.integers(0, 2, 60)
    examples, recipe = Examples(features, classes, ("a", "b")), Recipe.of(DEFAULT, {}, 0)
    judged = judge_examples(recipe, examples, 1, 0)
    assert judged is not None
    on_random = score_random(examples, judged, np.arange(60), 1, 0)
    on_all = score_random(examples, judged, np.arange(120), 1, 0)
    assert on_random is not None
    assert on_all is not None
    assert on_random.f1.value > on_all.f1.value + 0.1
    assert on_random.f1.low <= on_random.f1.value <= on_random.f1.high
    assert sum(fifth.objects for fifth in on_random.reliability) == 60
    assert score_random(examples, judged, np.arange(5), 1, 0) is None


def test_classes_of_one_object_are_not_learnt() -> None:
    features = np.arange(5, dtype=float)[:, np.newaxis]
    found = learnable(Examples(features, np.array([0, 0, 1, 2, 2]), ("a", "b", "c")))
    assert found is not None
    examples, rows = found
    assert (examples.names, examples.classes.tolist(), rows.tolist()) == (
        ("a", "c"),
        [0, 0, 1, 1],
        [0, 1, 3, 4],
    )
    assert learnable(Examples(features, np.array([0, 0, 0, 0, 1]), ("a", "b"))) is None


def test_time_is_that_between_edits_of_a_person_but_no_pauses() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)

    def edit(person: str, seconds: float) -> Edit:
        return Edit(1, "k", 1, 1, person, at + timedelta(seconds=seconds), "accept", {}, {})

    # ann: a minute for the first, then 6 s, then a pause that counts as a minute; bo: a minute
    assert minutes_of([edit("ann", 0), edit("bo", 1), edit("ann", 6), edit("ann", 4000)]) == 3.1
