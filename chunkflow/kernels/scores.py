"""Scores beyond counts: intervals by resampling, average precision, and how well two labellings agree."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indexes = NDArray[np.int64]
Floats = NDArray[np.float64]

REPEATS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """Where a score lies with a certainty of `LEVEL`; both NaN where it could not be resampled."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"


def bootstrap_interval(
    score: Callable[[Indexes], float],
    count: int,
    seed: int,
    groups: NDArray[np.int64] | None = None,
    repeats: int = REPEATS,
) -> Interval:
    """The percentiles of a score over `count` items drawn anew, with replacement; `score` is given which.

    With `groups` (a number for each item) whole groups are drawn, as items of one block of space or one
    animal are not independent. A draw for which the score is not a number, as it lacks a class, is left out.
    """
    if count == 0:
        return Interval(float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    members: list[Indexes] = [np.array([], np.int64)]
    if groups is not None:
        order = np.argsort(groups, kind="stable").astype(np.int64)
        members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    values = []
    for _ in range(repeats):
        if groups is None:
            drawn = random.integers(0, count, count)
        else:
            drawn = np.concatenate([members[n] for n in random.integers(0, len(members), len(members))])
        values.append(score(drawn))
    known = np.array(values)[np.isfinite(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    low, high = np.percentile(known, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return Interval(float(low), float(high))
