"""Tuning: the diameter and contrast of best F1 against the cells that a person marked.

1. For each diameter the peaks of the response in a region are ranked, the highest first. How many marked
   cells the first n of them find is known for every n at once.
2. A peak beyond the region's border may find a marked cell near it, but is never wrong: nobody looked there.
3. Settings are laid out on fixed steps of contrast, so that another region is judged at the same ones.
4. Few cells make F1 noisy, and its highest point a matter of chance. So each setting weighs e^(F1 / doubt),
   the doubt falling as the root of the number of cells, times a prior: a bell, over octaves, around the
   diameter that was given and the contrast that the automatic rule decided for it.
5. The median by weight is chosen: first the diameter, then the contrast for it. (The mean is drawn to the
   many settings that find hardly anything.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.scoring.matching import Points
from chunkflow.kernels.scoring.scores import ranked_matches

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DOUBT = 0.07
"""Of F1, for one cell. This and the two that follow were chosen on eleven brains of two stains."""
DIAMETER_OCTAVES = 1.0
"""Standard deviation of the best diameter around the given one."""
CONTRAST_OCTAVES = 0.75
"""Standard deviation of the best contrast around the automatic one."""
STEPS_PER_OCTAVE = 32
MOST_FOUND = 20
"""Times as many peaks as cells: settings that find more are not looked at."""


@dataclass(frozen=True)
class Ranked:
    """The peaks that a diameter finds in and around a region, the highest first."""

    diameter: float
    places: Points
    heights: NDArray[np.float32]
    matches: NDArray[np.bool_]
    """Whether each raises the number of marked cells found."""
    inside: NDArray[np.bool_]

    def counts(self, contrasts: Floats) -> tuple[Ints, Ints]:
        """How many peaks of at least each contrast are right, and how many wrong."""
        reach = np.searchsorted(-self.heights.astype(np.float64), -contrasts, side="right")
        right = np.append(0, np.cumsum(self.matches))
        wrong = np.append(0, np.cumsum(self.inside & ~self.matches))
        return right[reach].astype(np.int64), wrong[reach].astype(np.int64)


def rank(
    diameter: float,
    places: Points,
    heights: NDArray[np.float32],
    inside: NDArray[np.bool_],
    cells: Points,
    tolerance: float,
) -> Ranked:
    """Rank the peaks of one diameter by height; those at which too many are found are left out."""
    order = np.argsort(-heights, kind="stable")
    far_down = np.searchsorted(np.cumsum(inside[order]), MOST_FOUND * len(cells), side="right")
    order = order[:far_down]
    matches = ranked_matches(places[order], cells, tolerance)
    return Ranked(diameter, places[order], heights[order], matches, inside[order])


@dataclass(frozen=True)
class Prior:
    """The setting to be expected before any cell was marked: the given diameter, the automatic contrast."""

    diameter: float
    contrast: float

    def log_weights(self, diameters: Floats, contrasts: Floats) -> Floats:
        """Logarithms of the weights of all settings; rows are diameters."""
        along = np.log2(diameters / self.diameter) / DIAMETER_OCTAVES
        across = np.log2(contrasts / self.contrast) / CONTRAST_OCTAVES
        return np.asarray(-(along[:, None] ** 2 + across**2) / 2)


@dataclass(frozen=True)
class ScoreSurface:
    """The scores of all settings in one region: rows are diameters, columns contrasts."""

    diameters: Floats
    contrasts: Floats
    right: Ints
    wrong: Ints
    cells: int

    @classmethod
    def of(cls, ranked: Sequence[Ranked], cells: int) -> "ScoreSurface":
        contrasts = _steps(ranked)
        counts = [one.counts(contrasts) for one in ranked]
        right, wrong = (np.array([pair[which] for pair in counts]) for which in (0, 1))
        return cls(np.array([one.diameter for one in ranked]), contrasts, right, wrong, cells)

    @property
    def f1(self) -> Floats:
        return 2 * self.right / (self.right + self.wrong + self.cells)

    def chosen(self, prior: Prior) -> tuple[float, float]:
        """The diameter and the contrast in the middle of the settings that do best and are expected."""
        log_weights = self.f1 * np.sqrt(self.cells) / DOUBT + prior.log_weights(
            self.diameters, self.contrasts
        )
        weights = np.exp(log_weights - log_weights.max())
        row = _middle(weights.sum(axis=1))
        return float(self.diameters[row]), readable(float(self.contrasts[_middle(weights[row])]))


def readable(value: float) -> float:
    """A number in three digits, as a person would give it."""
    return float(f"{value:.3g}")


def _middle(weights: Floats) -> int:
    """Where half of all weight is reached."""
    return int(np.searchsorted(np.cumsum(weights), weights.sum() / 2))


def _steps(ranked: Sequence[Ranked]) -> Floats:
    heights = [one.heights for one in ranked if len(one.heights)]
    low = min(float(one[-1]) for one in heights)
    high = max(float(one[0]) for one in heights)
    first = int(np.floor(np.log2(low) * STEPS_PER_OCTAVE))
    last = int(np.ceil(np.log2(high) * STEPS_PER_OCTAVE))
    return np.asarray(2.0 ** (np.arange(first, last + 1) / STEPS_PER_OCTAVE))
