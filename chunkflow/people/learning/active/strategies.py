"""Strategies: which objects are the most useful to look at next.

1. Each candidate is scored by itself, or beside a sample of all objects, so that a table of any size can be
   gone through in pieces of which only the best are kept.
2. Among those kept, a strategy chooses a batch; the diverse ones choose objects that differ from each other.

Margin sampling has matched or beaten all others on tables of features, but in one corner of them a model may
never see the other corners: so its batches are spread, and each has objects drawn at random (`batch.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

from chunkflow.errors import BadInput
from chunkflow.extras import optional_import
from chunkflow.people.learning.active.undecided import Ints, Undecided, random_numbers
from chunkflow.people.learning.features import Floats
from chunkflow.people.learning.scores import Examples

DEFAULT_STRATEGY = "margin-diverse"
COLD = "coverage"
"""The strategy as long as there is no model."""
SPREAD = 5
"""Of so many times the batch, those that differ are chosen."""
SAMPLED = 5000
"""Candidates, drawn at random, among which a strategy chooses that looks at all of them at once."""
BLOCK = 2**14
"""Candidates whose distances to others are held at once."""
NEIGHBOURS = 200
"""Objects of the sample that say how dense it is around a candidate."""


@dataclass(frozen=True)
class FeatureSpace:
    """Features as distances between objects are measured in them: as the model sees them, of one spread."""

    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, features: Floats) -> FeatureSpace:
        """The space in which a sample has the mean 0 and the spread 1."""
        seen = np.arcsinh(features)
        spread = seen.std(axis=0)
        return cls(seen.mean(axis=0), np.where(spread > 0, spread, 1.0))

    def place(self, features: Floats) -> Floats:
        return np.asarray((np.arcsinh(features) - self.mean) / self.spread)


@dataclass(frozen=True)
class Known:
    """What a strategy may know beside the candidates."""

    seed: int
    sample: Floats
    """The features of some objects of the table, drawn at random."""
    examples: Examples | None = None
    """What people have decided; None as long as no model can be trained."""
    committee: Sequence[Any] = ()
    """Models of redrawn examples, for the strategy that asks them."""
    space: FeatureSpace = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "space", FeatureSpace.of(self.sample))


@dataclass(frozen=True)
class QueryStrategy:
    """A way to choose what is looked at next."""

    name: str
    score: Callable[[Undecided, Known], Floats]
    """How useful each candidate is, by itself."""
    choose: Callable[[Undecided, Floats, int, Known], Ints]
    """So many of those that were kept, given by falling score: their positions."""
    spread: int = 1
    """How many times as many are kept as are chosen."""
    sampled: int = 0
    """How many are kept at least."""
    needs_model: bool = True
    asks_committee: bool = False

    def kept(self, count: int) -> int:
        return max(self.spread * count, self.sampled)


def uncertainties(probabilities: Floats) -> Floats:
    """1 where the two likeliest classes are equally likely, 0 where the likeliest is certain."""
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(1 - (two[:, 1] - two[:, 0]))


def _margin(candidates: Undecided, known: Known) -> Floats:
    return uncertainties(candidates.probabilities)


def _at_random(candidates: Undecided, known: Known) -> Floats:
    return random_numbers(candidates.ids, known.seed)


def _disagreement(candidates: Undecided, known: Known) -> Floats:
    """How far the members of the committee are from each other: the entropy of their mean, less theirs."""
    said = np.stack([model.predict_proba(candidates.features) for model in known.committee])
    return np.asarray(_entropy(said.mean(axis=0)) - _entropy(said).mean(axis=0))


def _entropy(probabilities: Floats) -> Floats:
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=-1))


def _density(candidates: Undecided, known: Known) -> Floats:
    """Uncertain ones count as much as the objects around them are many."""
    from sklearn.metrics.pairwise import rbf_kernel

    near = known.space.place(known.sample[:NEIGHBOURS])
    places = known.space.place(candidates.features)
    parts = np.array_split(places, len(places) // BLOCK + 1)
    similar = [rbf_kernel(part, near, gamma=0.5 / near.shape[1]).mean(axis=1) for part in parts if len(part)]
    return np.asarray(uncertainties(candidates.probabilities) * np.concatenate(similar))


def _first(kept: Undecided, scores: Floats, count: int, known: Known) -> Ints:
    return np.arange(min(count, len(kept)))


def _spread_out(kept: Undecided, scores: Floats, count: int, known: Known, weighted: bool) -> Ints:
    """The candidates nearest to the centres of as many clusters, each at most once."""
    from sklearn.cluster import KMeans

    if len(kept) <= count:
        return np.arange(len(kept))
    places = known.space.place(kept.features)
    weights = np.maximum(scores, 1e-6) if weighted else None
    clusters = KMeans(count, n_init=1, random_state=known.seed).fit(places, sample_weight=weights)
    distances = ((places[:, np.newaxis] - clusters.cluster_centers_) ** 2).sum(axis=2)
    chosen: list[int] = []
    for column in distances.T:
        column = column.copy()
        column[chosen] = np.inf
        chosen.append(int(column.argmin()))
    return np.array(chosen)


def _asked(kept: Undecided, scores: Floats, count: int, known: Known, kind: type) -> Ints:
    """What a strategy of scikit-activeml chooses."""
    from skactiveml.classifier import SklearnClassifier
    from sklearn.linear_model import LogisticRegression

    examples = known.examples
    assert examples is not None
    numbers = range(len(examples.names))
    rows = np.concatenate([examples.features, kept.features])
    classes = np.concatenate([examples.classes.astype(float), np.full(len(kept), np.nan)])
    model = SklearnClassifier(LogisticRegression(max_iter=1000), classes=list(numbers))
    given: dict[str, Any] = {"X": known.space.place(rows), "y": classes}
    wanted = signature(kind.query).parameters  # type: ignore[attr-defined]
    given |= {name: model for name in ("clf", "discriminator", "ensemble") if name in wanted}
    candidates = np.arange(len(examples.classes), len(rows))
    chooser = kind(random_state=known.seed)
    found = chooser.query(**given, candidates=candidates, batch_size=min(count, len(kept)))
    return np.asarray(found, np.int64) - len(examples.classes)


STRATEGIES: Mapping[str, QueryStrategy] = {
    strategy.name: strategy
    for strategy in (
        QueryStrategy("random", _at_random, _first, needs_model=False),
        QueryStrategy("margin", _margin, _first),
        QueryStrategy(DEFAULT_STRATEGY, _margin, partial(_spread_out, weighted=True), SPREAD),
        QueryStrategy("committee", _disagreement, _first, asks_committee=True),
        QueryStrategy("density", _density, _first),
        QueryStrategy(
            COLD, _at_random, partial(_spread_out, weighted=False), sampled=SAMPLED, needs_model=False
        ),
    )
}
PEER = "skactiveml.pool:"
"""What the names of strategies of scikit-activeml begin with."""


def strategy_named(name: str) -> QueryStrategy:
    """A strategy by its name, or one of scikit-activeml, as skactiveml.pool:CLASS."""
    if name in STRATEGIES:
        return STRATEGIES[name]
    if not name.startswith(PEER):
        known = ", ".join(STRATEGIES)
        raise BadInput(f"There is no strategy {name!r}: it must be one of {known}, or {PEER}CLASS.")
    pool = optional_import("skactiveml.pool", f"The strategy {name}")
    kind = getattr(pool, name.removeprefix(PEER), None)
    if not (isinstance(kind, type) and hasattr(kind, "query")):
        raise BadInput(f"scikit-activeml has no strategy {name.removeprefix(PEER)!r}.")
    return QueryStrategy(name, _at_random, partial(_asked, kind=kind), sampled=SAMPLED)
