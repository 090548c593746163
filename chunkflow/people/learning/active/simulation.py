"""Simulated rounds against a known truth: how many labels each strategy needs.

1. The table is cut across its longest side into slabs; every other one is the pool, the others judge.
2. The first batch is drawn at random. Each round trains on what was labelled, chooses a batch of the pool,
   and looks up what it is.
3. After each round the model is judged by the slabs that it never sees, its threshold chosen from the labels.

The same is done with several seeds: each begins with other objects, and with the other slabs for odd ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.metrics import average_precision_score, f1_score

from chunkflow.data.info import TableInfo
from chunkflow.data.tables import read_table
from chunkflow.errors import BadInput
from chunkflow.jobs.locate import open_table
from chunkflow.people.learning.active.batch import choose_batch, committee_of, refuse_size
from chunkflow.people.learning.active.measures import kappa
from chunkflow.people.learning.active.models import fitted, learnable, probabilities_of, threshold_of
from chunkflow.people.learning.active.rounds import LOOKED_BACK, is_settled
from chunkflow.people.learning.active.strategies import (
    COLD,
    DEFAULT_STRATEGY,
    SAMPLED,
    Known,
    QueryStrategy,
    strategy_named,
)
from chunkflow.people.learning.active.undecided import Ints, Undecided, random_numbers
from chunkflow.people.learning.estimator import DEFAULT, Recipe
from chunkflow.people.learning.examples import ObjectTable
from chunkflow.people.learning.features import Floats, choose_features, feature_rows
from chunkflow.people.learning.model import decide
from chunkflow.people.learning.scores import Examples
from chunkflow.words import refuse_one_text

SLABS = 10
MOST_ROUNDS = 10_000
HELD_FOR = 3
"""Rounds for which a score must last to count as held."""
SHARE = 0.95
"""Of the F1 of all labels, by default, that is to be held."""
PLACES = ("x", "y", "z")


@dataclass(frozen=True)
class Judgement:
    """How well a model of so many labels judges objects that it has not seen."""

    labels: int
    f1: float
    pr_auc: float
    kappa: float | None = None
    """With the model of the round before."""


@dataclass(frozen=True)
class LearningCurve:
    """The rounds of a strategy from one seed."""

    strategy: str
    seed: int
    rounds: tuple[Judgement, ...]
    all_labels: Judgement
    """Of the model that has learnt the whole pool."""

    def labels_to_hold(self, share: float = SHARE) -> int | None:
        """The labels after which this share of the F1 of all labels is held; None where it never is."""
        good = [one.f1 >= share * self.all_labels.f1 for one in self.rounds]
        for number in range(len(good) - HELD_FOR + 1):
            if all(good[number : number + HELD_FOR]):
                return self.rounds[number].labels
        return None

    def settled(self, until: float) -> Judgement | None:
        """The first round at which learning would have ended; None where it would have gone on."""
        for number in range(LOOKED_BACK, len(self.rounds) + 1):
            if is_settled(self.rounds[:number], until):
                return self.rounds[number - 1]
        return None


@dataclass(frozen=True, repr=False)
class Simulated:
    """What each strategy needs, by simulation."""

    curves: tuple[LearningCurve, ...]

    @property
    def strategies(self) -> list[str]:
        return list(dict.fromkeys(curve.strategy for curve in self.curves))

    def of(self, strategy: str) -> list[LearningCurve]:
        """The curves of a strategy."""
        return [curve for curve in self.curves if curve.strategy == strategy]

    def labels_to_hold(self, strategy: str, share: float = SHARE) -> float:
        """The median over the seeds; infinite where most of them never hold it."""
        found = [curve.labels_to_hold(share) for curve in self.of(strategy)]
        return float(median(float("inf") if labels is None else labels for labels in found))

    def last_f1(self, strategy: str) -> float:
        """The median F1 of the last round, as a share of that of all labels."""
        return float(median(curve.rounds[-1].f1 / curve.all_labels.f1 for curve in self.of(strategy)))

    def __repr__(self) -> str:
        lines = []
        for name in self.strategies:
            needed = self.labels_to_hold(name)
            held = f"{needed:g} labels hold" if np.isfinite(needed) else "no number of these labels holds"
            lines.append(
                f"{name}: {held} {SHARE:.0%} of the F1 of all labels; it ends at {self.last_f1(name):.1%}"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class KnownTruth:
    """A table of which it is known what each object is."""

    ids: npt.NDArray[np.uint64]
    examples: Examples
    slabs: Ints
    positive: int | None
    """The class whose F1 counts; None for the mean over classes."""

    def halves(self, seed: int) -> tuple[Ints, Ints]:
        """The objects to choose from, and those that judge."""
        odd = self.slabs % 2 == seed % 2
        return np.flatnonzero(odd), np.flatnonzero(~odd)


def simulate_learning(
    table: ObjectTable,
    truth: str,
    *,
    strategies: Sequence[str] = ("random", DEFAULT_STRATEGY),
    batch: int = 20,
    rounds: int = 20,
    seeds: int = 5,
    positive: str = "",
    features: Sequence[str] = (),
    estimator: str = "",
    listeners: Sequence[Callable[[LearningCurve], None]] = (),
) -> Simulated:
    """Try strategies on a table whose column `truth` says what each object is.

    Each strategy goes through as many rounds, from as many `seeds`. The F1 is that of the class `positive`,
    else the mean over all classes. `listeners` hear of each curve as it is made.
    """
    refuse_one_text("strategies", strategies)
    refuse_size(batch)
    for name in strategies:
        strategy_named(name)
    known = read_truth(open_table(table), truth, positive, features)
    return simulated(known, strategies, batch, rounds, seeds, estimator, listeners)


def simulated(
    known: KnownTruth,
    strategies: Sequence[str],
    batch: int,
    rounds: int,
    seeds: int,
    estimator: str = "",
    listeners: Sequence[Callable[[LearningCurve], None]] = (),
) -> Simulated:
    """Try strategies on objects of which it is known what they are."""
    recipe = Recipe.of(estimator or DEFAULT, {}, 0)
    chosen = [strategy_named(name) for name in strategies]
    curves = []
    for seed in range(seeds):
        pool, judges = known.halves(seed)
        whole, _ = judged(recipe, known, known.examples.part(pool), judges, seed)
        for strategy in chosen:
            made = simulated_rounds(recipe, known, strategy, batch, rounds, seed)
            curves.append(LearningCurve(strategy.name, seed, made, whole))
            for listener in listeners:
                listener(curves[-1])
    return Simulated(tuple(curves))


def read_truth(info: TableInfo, truth: str, positive: str, patterns: Sequence[str]) -> KnownTruth:
    """The objects of a table that have all features and a class in the column `truth`."""
    rows = read_table(info, info.bounds).sort_by("id")
    if truth not in rows.column_names:
        raise BadInput(f"The table has no column {truth}; it has {', '.join(rows.column_names)}.")
    features = [name for name in choose_features(rows.schema, patterns) if name != truth]
    values = feature_rows(rows, features)
    said = rows[truth].cast(pa.string()).to_pylist()
    whole = np.isfinite(values).all(axis=1) & np.array([bool(text) for text in said])
    names, classes = np.unique(np.array([text or "" for text in said])[whole], return_inverse=True)
    if len(names) < 2:
        raise BadInput(f"All objects are of one class in the column {truth}: two are needed at least.")
    if positive and positive not in names:
        raise BadInput(f"The column {truth} has the classes {', '.join(names)}: none is {positive}.")
    places = np.stack([rows[axis].to_numpy() for axis in PLACES], axis=1)[whole]
    return KnownTruth(
        rows["id"].to_numpy()[whole],
        Examples(values[whole], classes.astype(np.int64), tuple(map(str, names))),
        slabs_of(places * np.array(info.voxel_size)),
        list(names).index(positive) if positive else None,
    )


def slabs_of(places: Floats) -> Ints:
    """The slab of each object, across the longest side, with as many objects in each."""
    along = places[:, np.ptp(places, axis=0).argmax()]
    edges = np.quantile(along, np.linspace(0, 1, SLABS + 1)[1:-1])
    return np.searchsorted(edges, along, side="right").astype(np.int64)


def simulated_rounds(
    recipe: Recipe, known: KnownTruth, strategy: QueryStrategy, batch: int, rounds: int, seed: int
) -> tuple[Judgement, ...]:
    """The rounds of one strategy from one seed."""
    pool, judges = known.halves(seed)
    labelled = _drawn(known, pool, batch, seed)
    made: list[Judgement] = []
    before: Ints | None = None
    for number in range(rounds):
        examples = known.examples.part(labelled)
        one, decided = judged(recipe, known, examples, judges, seed)
        agreed = None if before is None or decided is None else kappa(before, decided)
        made.append(replace(one, kappa=agreed))
        before = decided
        left = np.setdiff1d(pool, labelled)
        if not len(left):
            break
        own_seed = seed * MOST_ROUNDS + number
        found = learnable(examples)
        ids = _next_batch(recipe, known, found and found[0], left, strategy, batch, own_seed)
        labelled = np.concatenate([labelled, left[np.isin(known.ids[left], ids)]])
    return tuple(made)


def _drawn(known: KnownTruth, objects: Ints, count: int, seed: int) -> Ints:
    return objects[np.argsort(random_numbers(known.ids[objects], seed), kind="stable")[:count]]


def _next_batch(
    recipe: Recipe,
    known: KnownTruth,
    examples: Examples | None,
    left: Ints,
    strategy: QueryStrategy,
    batch: int,
    seed: int,
) -> tuple[int, ...]:
    """The ids of the objects that a strategy chooses among those that are left."""
    if strategy.needs_model and examples is None:
        strategy = strategy_named(COLD)
    features = known.examples.features[left]
    sample = known.examples.features[_drawn(known, left, SAMPLED, seed)]
    committee: list[Any] = []
    probabilities = np.zeros((len(left), 0))
    if examples is not None and strategy.needs_model:
        probabilities = probabilities_of(fitted(recipe, examples), features)
        committee = committee_of(recipe, examples, seed) if strategy.asks_committee else []
    own = Known(seed, sample, examples, committee)
    return choose_batch([Undecided(known.ids[left], features, probabilities)], strategy, batch, own).ids


def judged(
    recipe: Recipe, known: KnownTruth, labelled: Examples, judges: Ints, seed: int
) -> tuple[Judgement, Ints | None]:
    """How well a model of what is labelled judges other objects, and what it says that they are."""
    true = known.examples.classes[judges]
    learnt = learnable(labelled)
    if learnt is None:
        return Judgement(len(labelled.classes), 0.0, 0.0), None
    examples = learnt[0]
    found = probabilities_of(fitted(recipe, examples), known.examples.features[judges])
    probabilities = np.zeros((len(judges), len(known.examples.names)))
    probabilities[:, [known.examples.names.index(name) for name in examples.names]] = found
    counted = range(len(known.examples.names)) if known.positive is None else [known.positive]
    decided = probabilities.argmax(axis=1)
    if known.positive is not None and known.examples.names[known.positive] in examples.names:
        number = examples.names.index(known.examples.names[known.positive])
        threshold = threshold_of(recipe, examples, number, seed)
        decided = decide(probabilities, known.positive, threshold)
    f1 = [f1_score(true == number, decided == number, zero_division=0.0) for number in counted]
    areas = [average_precision_score(true == number, probabilities[:, number]) for number in counted]
    return Judgement(len(labelled.classes), float(np.mean(f1)), float(np.mean(areas))), decided
