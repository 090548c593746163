"""Simulated rounds: what is labelled is never judged, and what is rare is found sooner than by chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chunkflow.errors import BadInput
from chunkflow.people.learning.active.simulation import (
    Judgement,
    KnownTruth,
    LearningCurve,
    Simulated,
    judged,
    simulate_learning,
    simulated_rounds,
    slabs_of,
)
from chunkflow.people.learning.active.simulation_page import write_simulation
from chunkflow.people.learning.active.strategies import DEFAULT_STRATEGY, strategy_named
from chunkflow.people.learning.estimator import DEFAULT, Recipe
from chunkflow.people.learning.scores import Examples

RECIPE = Recipe.of(DEFAULT, {}, 0)


@pytest.fixture(scope="module")
def rare() -> KnownTruth:
    """A class of seven in a hundred, somewhat apart from the others."""
    random = np.random.default_rng(5)
    classes = (random.random(1500) < 0.07).astype(np.int64)
    features = random.normal(size=(1500, 4)) + 1.6 * classes[:, np.newaxis]
    places = random.random((1500, 3)) * (900, 500, 300)
    examples = Examples(features, classes, ("other", "rare"))
    return KnownTruth(np.arange(1, 1501, dtype=np.uint64), examples, slabs_of(places), 1)


def test_a_rare_class_is_found_sooner_than_by_chance(rare: KnownTruth) -> None:
    f1 = {
        name: np.mean(
            [
                [one.f1 for one in simulated_rounds(RECIPE, rare, strategy_named(name), 20, 6, seed)]
                for seed in range(2)
            ],
            axis=0,
        )
        for name in ("random", DEFAULT_STRATEGY)
    }
    assert f1["random"][0] == f1[DEFAULT_STRATEGY][0]  # the first batch is the same
    assert f1[DEFAULT_STRATEGY][2:].mean() > f1["random"][2:].mean() + 0.03


def test_pool_and_judges_have_no_object_in_common(rare: KnownTruth) -> None:
    pool, judges = rare.halves(0)
    assert not set(pool) & set(judges)
    assert len(pool) + len(judges) == 1500
    assert np.array_equal(rare.halves(1)[0], judges)
    assert abs(len(pool) - 750) <= 5


def test_a_class_that_is_not_labelled_scores_nothing(rare: KnownTruth) -> None:
    others = np.flatnonzero(rare.examples.classes == 0)[:40]
    found = judged(RECIPE, rare, rare.examples.part(others), rare.halves(0)[1], 0)
    assert found == (Judgement(40, 0.0, 0.0), None)


def test_a_share_is_held_for_three_rounds() -> None:
    def curve(*f1: float) -> LearningCurve:
        rounds = tuple(Judgement(20 * n, value, 0.5) for n, value in enumerate(f1, 1))
        return LearningCurve("margin", 0, rounds, Judgement(500, 0.8, 0.9))

    good, bad = 0.77, 0.7
    assert curve(bad, good, bad, good, good, good, bad).labels_to_hold(0.95) == 80
    assert curve(bad, good, good).labels_to_hold(0.95) is None
    tried = Simulated((curve(good, good, good), curve(bad, good, good), curve(bad, good, good, good)))
    assert tried.labels_to_hold("margin", 0.95) == 40
    assert "40 labels hold 95% of the F1 of all labels" in repr(tried)


def test_a_table_with_its_truth_is_tried_and_drawn(learnt_work: str, tmp_path: Path) -> None:
    heard: list[LearningCurve] = []
    features = ["radius_um", "brightness", "grain"]
    tried = simulate_learning(
        f"{learnt_work}:cells",
        "class",
        batch=8,
        rounds=4,
        seeds=2,
        features=features,
        listeners=[heard.append],
    )
    assert tried.strategies == ["random", DEFAULT_STRATEGY]
    assert list(tried.curves) == heard
    assert [len(curve.rounds) for curve in heard] == [4] * 4
    assert tried.curves[0].all_labels.f1 > 0.8
    write_simulation(tried, tmp_path / "tried.html")
    assert "margin-diverse" in (tmp_path / "tried.html").read_text()
    with pytest.raises(BadInput, match="has no column kind"):
        simulate_learning(f"{learnt_work}:cells", "kind")
    with pytest.raises(BadInput, match="has the classes glia, neuron: "):
        simulate_learning(f"{learnt_work}:cells", "class", positive="dust", features=features)
