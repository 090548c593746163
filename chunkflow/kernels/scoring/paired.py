"""Paired comparison: two settings on the same cells, and how sure the difference of their F1 is.

1. A site is a cell that was marked, or a place where either setting is wrong; one at which both are wrong
   is one site.
2. Sites are drawn anew, with replacement, and both settings are scored on each draw. What they share moves
   both scores alike, so the difference is known better than either score.
3. Where it is uncertain which setting of the region corresponds to one elsewhere, there are several pairs of
   outcomes, each as likely, and each has its share of the draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.scoring.matching import Points, matched_pairs
from chunkflow.kernels.scoring.scores import REPEATS

Floats = NDArray[np.float64]
SURE = 0.9
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
    least: float
    """The difference is at least this with a certainty of `SURE`."""
    share: float
    """Of the draws in which it is above; a draw in which both are equal counts half."""

    @property
    def shown(self) -> bool:
        """Whether the cells show that it is better: even the lower bound is no loss."""
        return self.difference > LEAST and self.least >= -LEAST


def paired_gain(
    pairs: Sequence[tuple[Outcome, Outcome]], near: float, seed: int, repeats: int = REPEATS
) -> Gain:
    """The gain of the first of each pair over the second; the first pair is the one observed.

    Places where both are wrong are the same if within `near`.
    """
    random = np.random.default_rng(seed)
    drawn = [_differences(*pair, near, random, repeats // len(pairs)) for pair in pairs]
    draws = np.concatenate(drawn)
    above = (draws > LEAST).mean() + (np.abs(draws) <= LEAST).mean() / 2
    one, other = (
        _f1(side.found.sum(dtype=np.float64), np.float64(len(side.wrong)), np.float64(len(side.found)))
        for side in pairs[0]
    )
    return Gain(float(one - other), float(np.quantile(draws, 1 - SURE)), float(above))


def _differences(
    one: Outcome, other: Outcome, near: float, random: np.random.Generator, repeats: int
) -> Floats:
    """The difference of F1 in each draw of sites."""
    both = len(matched_pairs(one.wrong, other.wrong, near))
    alone = len(one.wrong) - both, len(other.wrong) - both
    cells = np.arange(len(one.found) + both + sum(alone)) < len(one.found)
    right = np.zeros((2, len(cells)))
    wrong = np.zeros((2, len(cells)))
    right[:, cells] = one.found, other.found
    wrong[:, ~cells] = np.array([(1, 1), (1, 0), (0, 1)]).repeat((both, *alone), axis=0).T
    count, marked = len(cells), cells.astype(np.float64)
    drawn = random.multinomial(count, np.full(count, 1 / count), repeats)
    first, second = (_f1(drawn @ right[side], drawn @ wrong[side], drawn @ marked) for side in (0, 1))
    return np.asarray(first - second)


def _f1(right: Floats | np.float64, wrong: Floats | np.float64, cells: Floats | np.float64) -> Floats:
    """A draw without a cell or a peak is right in nothing."""
    return np.asarray(2 * right / np.maximum(right + wrong + cells, 1))
