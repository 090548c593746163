"""A setting of segment, a diameter and a contrast, and how it does in a region."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np

from chunkflow.kernels.images.threshold import PEAK_RATIO
from chunkflow.kernels.scoring.matching import matched_pairs
from chunkflow.kernels.scoring.paired import Gain, Outcome, paired_gain
from chunkflow.kernels.scoring.scores import Interval, bootstrap_interval
from chunkflow.kernels.scoring.tuning import Ranked
from chunkflow.people.learning.tune_region import Region
from chunkflow.words import counted

SEED = 0
REGION_OCTAVES = 0.15
"""Standard deviation of the contrast that does in a region what another does elsewhere: some are brighter.
Of the best contrast it is 0.1 to 0.4 in eleven brains. With this, at most one region in seven proposed worse
than the automatic setting; with more, what is better is seldom shown."""
SHIFTS = 7


@dataclass(frozen=True)
class Setting:
    """A diameter and a contrast, and what they find in a region."""

    region: Region
    ranked: Ranked
    """The peaks of the diameter."""
    contrast: float

    @property
    def diameter(self) -> float:
        return self.ranked.diameter

    @cached_property
    def counts(self) -> tuple[int, int]:
        """How many peaks are right, and how many wrong."""
        right, wrong = self.ranked.counts(np.array([np.float32(self.contrast)], np.float64))
        return int(right[0]), int(wrong[0])

    @property
    def missed(self) -> int:
        return len(self.region.cells) - self.counts[0]

    @property
    def f1(self) -> float:
        right, wrong = self.counts
        return 2 * right / (right + wrong + len(self.region.cells))

    @cached_property
    def interval(self) -> Interval:
        """Where F1 lies with a certainty of 95 %."""
        right, wrong = self.counts
        kinds = np.array([2, 1, 1]).repeat([right, wrong, self.missed])
        return bootstrap_interval(lambda drawn: _f1(kinds[drawn]), len(kinds), SEED)

    @property
    def outcome(self) -> Outcome:
        """Which cells it finds, and where it is wrong."""
        taken = self.ranked.heights >= np.float32(self.contrast)
        right = self.ranked.places[taken & self.ranked.matches]
        found = np.zeros(len(self.region.cells), bool)
        found[matched_pairs(right, self.region.cells, self.region.tolerance)[:, 1]] = True
        return Outcome(found, self.ranked.places[taken & self.ranked.inside & ~self.ranked.matches])

    def gain_over(self, other: Setting) -> Gain:
        """Its F1 above that of another setting in the same region, which may be brighter or dimmer than
        the image is elsewhere."""
        middles = [(shift + 0.5) / SHIFTS for shift in range(SHIFTS)]
        octaves = sorted((NormalDist(0, REGION_OCTAVES).inv_cdf(middle) for middle in middles), key=abs)
        pairs = [(self._shifted(by).outcome, other._shifted(by).outcome) for by in octaves]
        return paired_gain(pairs, self.region.tolerance / 2, SEED)

    def _shifted(self, octaves: float) -> Setting:
        return replace(self, contrast=self.contrast * 2.0**octaves)

    def finds(self) -> str:
        """Its counts and F1, in words."""
        right, wrong = self.counts
        return (
            f"finds {right} of {counted(len(self.region.cells), 'marked cell')} and "
            f"{counted(wrong, 'peak')} beside: F1 {self.f1:.2f} ({self.interval} with 95 % certainty)"
        )

    def row(self, name: str) -> list[str]:
        """A row of a table of settings."""
        right, wrong = self.counts
        setting = [f"{self.diameter:.3g}", f"{self.contrast / PEAK_RATIO:.4g}", f"{self.contrast:.4g}"]
        return [
            name,
            *setting,
            str(right),
            str(wrong),
            str(self.missed),
            f"{self.f1:.2f}",
            str(self.interval),
        ]

    def document(self) -> dict[str, Any]:
        """Its numbers as plain JSON."""
        right, wrong = self.counts
        return {
            "diameter": self.diameter,
            "threshold": self.contrast / PEAK_RATIO,
            "contrast": self.contrast,
            "right": right,
            "wrong": wrong,
            "missed": self.missed,
            "f1": self.f1,
            "f1_interval": [self.interval.low, self.interval.high],
        }


COLUMNS = [
    "",
    "diameter, µm",
    "threshold",
    "contrast",
    "found",
    "wrong",
    "missed",
    "F1",
    "with 95 % certainty",
]


def _f1(kinds: np.ndarray[Any, Any]) -> float:
    """F1 of items of which a pair counts 2, a point alone 1: what is in pairs, of all."""
    return float(kinds[kinds == 2].sum() / kinds.sum())
