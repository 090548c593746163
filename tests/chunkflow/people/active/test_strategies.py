"""Strategies choose what they say, as many as are asked for, however the table comes in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from chunkflow.errors import BadInput
from chunkflow.people.learning.active.batch import choose_batch, committee_of
from chunkflow.people.learning.active.models import fitted, probabilities_of
from chunkflow.people.learning.active.strategies import (
    COLD,
    DEFAULT_STRATEGY,
    STRATEGIES,
    Known,
    strategy_named,
    uncertainties,
)
from chunkflow.people.learning.active.undecided import Undecided
from chunkflow.people.learning.estimator import DEFAULT, Recipe
from chunkflow.people.learning.scores import Examples

RECIPE = Recipe.of(DEFAULT, {}, 0)
PEERS = ["skactiveml.pool:UncertaintySampling", "skactiveml.pool:TypiClust"]


@pytest.fixture(scope="module")
def known() -> tuple[Known, Undecided]:
    """Two classes along the first feature, of which forty objects are labelled."""
    random = np.random.default_rng(4)
    features = random.normal(size=(600, 3))
    classes = (features[:, 0] + 0.3 * random.normal(size=600) > 0).astype(np.int64)
    examples = Examples(features[:40], classes[:40], ("glia", "neuron"))
    model = fitted(RECIPE, examples)
    ids = np.arange(1, 561, dtype=np.uint64)
    rest = Undecided(ids, features[40:], probabilities_of(model, features[40:]))
    return Known(7, features, examples, committee_of(RECIPE, examples, 7)), rest


@pytest.mark.parametrize("name", [*STRATEGIES, *PEERS])
def test_a_batch_is_the_same_however_the_table_is_cut(name: str, known: tuple[Known, Undecided]) -> None:
    own, rest = known
    strategy = strategy_named(name)
    whole = choose_batch([rest], strategy, 20, own)
    assert (len(whole.chosen), len(whole.random)) == (16, 4)
    assert len(set(whole.ids)) == 20
    pieces = [rest.part(rows) for rows in np.array_split(np.arange(len(rest)), 7)[::-1]]
    assert choose_batch(pieces, strategy, 20, own) == whole
    assert whole.random == choose_batch([rest], strategy_named("random"), 20, own).random


def test_margin_takes_the_least_certain_and_the_default_spreads_them(known: tuple[Known, Undecided]) -> None:
    own, rest = known
    score = dict(zip(rest.ids.tolist(), uncertainties(rest.probabilities), strict=True))
    batches = {
        name: choose_batch([rest], strategy_named(name), 20, own) for name in ("margin", DEFAULT_STRATEGY)
    }
    left = sorted(score[id] for id in score if id not in batches["margin"].ids)
    assert min(score[id] for id in batches["margin"].chosen) >= left[-1]
    least = sorted(score.values())[-16 * 5 - 4]
    assert min(score[id] for id in batches[DEFAULT_STRATEGY].chosen) >= least
    place = dict(zip(rest.ids.tolist(), own.space.place(rest.features), strict=True))

    def nearest(name: str) -> float:
        places = np.array([place[id] for id in batches[name].chosen])
        away = np.linalg.norm(places[:, np.newaxis] - places, axis=2)
        return float(np.sort(away, axis=1)[:, 1].mean())

    assert nearest(DEFAULT_STRATEGY) > 1.2 * nearest("margin")


def test_coverage_reaches_what_is_rare(known: tuple[Known, Undecided]) -> None:
    """Some of ten objects that are unlike all others are in a batch, where chance would take none."""
    rest = known[1]
    features = rest.features.copy()
    features[:10] += 40
    odd = Undecided(rest.ids, features, np.zeros((len(rest), 0)))
    spread = choose_batch([odd], strategy_named(COLD), 20, Known(7, features))
    assert set(spread.chosen) & set(rest.ids[:10].tolist())


def test_what_is_left_is_enough(known: tuple[Known, Undecided]) -> None:
    own, rest = known
    for left in (0, 1, 3, 19):
        for name in STRATEGIES:
            batch = choose_batch([rest.part(np.arange(left))], strategy_named(name), 20, own)
            assert sorted(batch.ids) == rest.ids[:left].tolist()


def test_what_is_no_strategy_is_refused(known: tuple[Known, Undecided]) -> None:
    with pytest.raises(
        BadInput, match=r"no strategy 'best': it must be one of random, margin, .* or skactiveml"
    ):
        strategy_named("best")
    with pytest.raises(BadInput, match="scikit-activeml has no strategy 'Best'"):
        strategy_named("skactiveml.pool:Best")
    with pytest.raises(BadInput, match="at least 2 objects"):
        choose_batch([known[1]], strategy_named("margin"), 1, known[0])
