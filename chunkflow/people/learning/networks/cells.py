"""Scores of cells that a network found or judged, by two protocols.

The honest one: all candidates, or all that is found down to the lowest threshold, paired one to one with all
cells of a region; cells never asked about are missed. The usual one of papers: cells, and places at random.
Both stand side by side, as the second flatters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chunkflow.kernels.scoring.scores import Curve
from chunkflow.networks.training.truths import CellsTruth, Floats
from chunkflow.people.learning.scores import Ranking

if TYPE_CHECKING:
    from chunkflow.networks.training.regions import Predicted

Mask = npt.NDArray[np.bool_]
Wrong = tuple[str, tuple[str, str, str], float]
"""A place that was taken for a cell: the image, x, y, z in its voxels as they are written, how likely."""


@dataclass(frozen=True)
class AskedPlaces:
    """Places that a network was asked about: how likely a cell is there, whether one is, and was seen."""

    chances: Floats
    is_cell: Mask
    taken: Mask
    missed: int = 0
    """Cells that it was not asked about."""
    called: int = 0
    """False positives that a reviewer calls cells."""

    @classmethod
    def together(cls, parts: Sequence[AskedPlaces]) -> AskedPlaces:
        """All places of several networks, or regions."""
        return cls(
            np.concatenate([part.chances for part in parts]),
            np.concatenate([part.is_cell for part in parts]),
            np.concatenate([part.taken for part in parts]),
            sum(part.missed for part in parts),
            sum(part.called for part in parts),
        )

    @property
    def counts(self) -> dict[str, int]:
        """True and false positives and negatives."""
        right = int((self.taken & self.is_cell).sum())
        wrong = int((self.taken & ~self.is_cell).sum())
        missed = int((~self.taken & self.is_cell).sum()) + self.missed
        return {
            "true positives": right,
            "false positives": wrong,
            "false negatives": missed,
            "true negatives": len(self.chances) + self.missed - right - wrong - missed,
        }

    @property
    def values(self) -> dict[str, float]:
        """F1, accuracy, precision and recall, and the areas under two curves."""
        right, wrong, missed, left = self.counts.values()
        roc, average = self._ranking().areas(np.arange(len(self.chances) + self.missed))
        return {
            "F1": share(2 * right, 2 * right + wrong + missed),
            "accuracy": share(right + left, right + wrong + missed + left),
            "precision": share(right, right + wrong),
            "recall": share(right, right + missed),
            "ROC AUC": roc,
            "PR AUC": average,
        }

    @property
    def adjusted(self) -> dict[str, float]:
        """F1 and precision where false positives that a reviewer calls cells count as such."""
        right, wrong, missed, _ = self.counts.values()
        right, wrong = right + self.called, wrong - self.called
        return {"F1": share(2 * right, 2 * right + wrong + missed), "precision": share(right, right + wrong)}

    @property
    def mistakes(self) -> npt.NDArray[np.int64]:
        """A row a cell that was found, missed or wrong: true positive, false positive, false negative."""
        kinds = (self.taken & self.is_cell, self.taken & ~self.is_cell, ~self.taken & self.is_cell)
        rows = np.stack(kinds, 1).astype(np.int64)
        missed = np.tile(np.array([0, 0, 1], np.int64), (self.missed, 1))
        return np.concatenate([rows[rows.any(axis=1)], missed])

    @property
    def curve(self) -> Curve | None:
        """Precision and recall, as the threshold falls; None where nothing was asked."""
        if not len(self.chances):
            return None
        order = np.argsort(-self.chances, kind="stable")
        ordered = self.chances[order]
        last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        matched = np.cumsum(self.is_cell[order])[last].astype(np.int64)
        return Curve(ordered[last], last + 1, matched, int(self.is_cell.sum()) + self.missed)

    @property
    def roc(self) -> tuple[Floats, Floats]:
        """The share of what is no cell that is taken, and of cells, as the threshold falls to the lowest."""
        curve = self.curve
        if curve is None:
            return np.zeros(1), np.zeros(1)
        others = max(int((~self.is_cell).sum()), 1)
        wrong = (curve.found - curve.matched) / others
        return np.append(0.0, wrong), np.append(0.0, curve.recall)

    def _ranking(self) -> Ranking:
        never = np.full(self.missed, -1.0)
        true = np.append(self.is_cell, np.ones(self.missed, bool))
        return Ranking.of(np.append(self.chances, never), true)


def asked_places(one: Predicted, truth: CellsTruth, threshold: float) -> tuple[AskedPlaces, list[Wrong]]:
    """By the honest protocol: all candidates of a region, or all that was found; and what is no cell."""
    from chunkflow.networks.training.regions import ranked_in

    asked, volume = ranked_in(one, truth, threshold), one.region.volume
    wrong = asked.taken & ~asked.is_cell
    places = asked.places[wrong] * np.array(volume.space.ratios)
    named = [
        (volume.name, (f"{x:.3f}", f"{y:.3f}", f"{z:.3f}"), float(chance))
        for (x, y, z), chance in zip(places, asked.chances[wrong], strict=True)
    ]
    return AskedPlaces(asked.chances, asked.is_cell, asked.taken, asked.missed), named


def control_places(one: Predicted, threshold: float) -> AskedPlaces:
    """By the usual protocol of papers: the cells of a region, and places at random."""
    controls = one.controls
    assert controls is not None
    return AskedPlaces(controls.chances, controls.is_cell, controls.chances >= threshold - 1e-9)


def share(part: float, whole: float) -> float:
    """0 where there is nothing to have a share of."""
    return float(part / whole) if whole else 0.0
