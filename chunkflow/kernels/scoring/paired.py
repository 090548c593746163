"""Paired comparison: two settings on the same cells, and how sure the difference of their F1 is.

1. A site is a cell that was marked, or a place where either setting is wrong; one at which both are wrong
   is one site.
2. Sites are drawn anew, with replacement, and both settings are scored on each draw. What they share moves
   both scores alike, so the difference is known better than either score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.scoring.matching import Points, matched_pairs
from chunkflow.kernels.scoring.scores import LEVEL, REPEATS, Interval

Floats = NDArray[np.float64]
LEAST = 1e-9
"""Smaller differences are rounding."""


@dataclass(frozen=True)
class Outcome:
    """Where a setting is right and wrong in a region."""

    found: NDArray[np.bool_]
    """Whether each marked cell was found."""
    wrong: Points


@dataclass(frozen=True)
class Gain:
    """F1 of one setting above that of another, on the same cells."""

    difference: float
    interval: Interval
    share: float
    """Of the draws in which it is above; a draw in which both are equal counts half."""

    @property
    def shown(self) -> bool:
        """Whether the cells show that it is better: even the lower bound is no loss."""
        return self.difference > LEAST and self.interval.low >= -LEAST


def paired_gain(one: Outcome, other: Outcome, near: float, seed: int, repeats: int = REPEATS) -> Gain:
    """The gain of `one` over `other`; places where both are wrong are the same if within `near`."""
    both = len(matched_pairs(one.wrong, other.wrong, near))
    alone = len(one.wrong) - both, len(other.wrong) - both
    cells = np.arange(len(one.found) + both + sum(alone)) < len(one.found)
    kinds = np.array([(1, 1), (1, 0), (0, 1)]).repeat((both, *alone), axis=0)
    right = np.zeros((2, len(cells)))
    wrong = np.zeros((2, len(cells)))
    right[:, cells] = one.found, other.found
    wrong[:, ~cells] = kinds.T
    count, marked = len(cells), cells.astype(np.float64)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), repeats)
    first, second = (_f1(drawn @ right[side], drawn @ wrong[side], drawn @ marked) for side in (0, 1))
    difference = first - second
    low, high = np.percentile(difference, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    whole = [_f1(right[side].sum(), wrong[side].sum(), marked.sum()) for side in (0, 1)]
    above = (difference > LEAST).mean() + (np.abs(difference) <= LEAST).mean() / 2
    return Gain(float(whole[0] - whole[1]), Interval(float(low), float(high)), float(above))


def _f1(right: Floats, wrong: Floats, cells: Floats) -> Floats:
    """A draw without a cell or a peak is right in nothing."""
    return np.asarray(2 * right / np.maximum(right + wrong + cells, 1))
