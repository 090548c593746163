"""Batches of objects to be looked at: most by a strategy, a fifth at random.

Those at random keep a model out of corners, and they alone measure it: what was chosen because it is hard
says nothing of all the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chunkflow.errors import BadInput
from chunkflow.people.learning.active.strategies import Known, QueryStrategy
from chunkflow.people.learning.active.undecided import Best, Undecided, random_numbers
from chunkflow.people.learning.estimator import Recipe
from chunkflow.people.learning.scores import Examples

RANDOM_SHARE = 5
"""One in so many of a batch is drawn at random."""
COMMITTEE = 5
_DRAWN = 101
"""Apart from the seed: what is drawn to measure has nothing to do with what a strategy draws."""


@dataclass(frozen=True)
class Batch:
    """Objects to be looked at next."""

    chosen: tuple[int, ...]
    """By the strategy, the most useful first."""
    random: tuple[int, ...]
    """Drawn at random among all that were left."""

    @property
    def ids(self) -> tuple[int, ...]:
        """All of them; those at random are spread among the others, and not known by their turn."""
        merged = list(self.chosen)
        step = len(self.chosen) // len(self.random) + 1 if self.random else 1
        for number, id in enumerate(self.random):
            merged.insert(min(number * step + step // 2, len(merged)), id)
        return tuple(merged)

    def __len__(self) -> int:
        return len(self.chosen) + len(self.random)


def choose_batch(pieces: Iterable[Undecided], strategy: QueryStrategy, size: int, known: Known) -> Batch:
    """Choose a batch among candidates that come in pieces, each of which is held for a moment only."""
    refuse_size(size)
    at_random = max(1, size // RANDOM_SHARE)
    wanted = size - at_random
    best = Best(strategy.kept(wanted) + at_random, known.seed)
    drawn = Best(at_random, known.seed)
    any_came = False
    for piece in pieces:
        any_came = any_came or len(piece) > 0
        best.add(piece, strategy.score(piece, known) if len(piece) else np.zeros(0))
        drawn.add(piece, random_numbers(piece.ids, known.seed + _DRAWN))
    if not any_came:
        return Batch((), ())
    random = drawn.found()[0].ids
    kept, scores = best.found()
    left = ~np.isin(kept.ids, random)
    kept, scores = kept.part(left), scores[left]
    positions = (
        strategy.choose(kept, scores, wanted, known) if wanted and len(kept) else np.zeros(0, np.int64)
    )
    return Batch(tuple(kept.ids[positions].tolist()), tuple(random.tolist()))


def committee_of(recipe: Recipe, examples: Examples, seed: int) -> list[Any]:
    """Models of examples redrawn within each class, for the strategy that asks them."""
    random = np.random.default_rng(seed)
    models = []
    for _ in range(COMMITTEE):
        rows = np.concatenate([redrawn(random, members) for members in _members(examples)])
        part = examples.part(np.sort(rows))
        models.append(recipe.build(examples.smallest).fit(part.features, part.classes))
    return models


def redrawn(random: np.random.Generator, members: np.ndarray) -> np.ndarray:
    """As many members, drawn anew."""
    return random.choice(members, len(members))


def _members(examples: Examples) -> Sequence[np.ndarray]:
    return [np.flatnonzero(examples.classes == number) for number in range(len(examples.names))]


def refuse_size(size: int) -> None:
    """Raise BadInput for a batch that cannot be."""
    if size < 2:
        raise BadInput(f"A batch has at least 2 objects, one of them at random, not {size}.")
