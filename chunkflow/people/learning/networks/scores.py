"""Scores of a trained network where it was judged, with intervals from drawing blocks of space anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chunkflow.kernels.scoring.matching import matched_pairs
from chunkflow.kernels.scoring.scores import Curve, Interval, bootstrap_interval, precision_recall
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.placement import FULL
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.truths import NO_CLASS, ClassesTruth, Floats, PointsTruth

if TYPE_CHECKING:
    from chunkflow.networks.training.validation import Prediction

BLOCK = 32
"""Side of the blocks of space that are drawn anew, in voxels."""
SEED = 0
Mistakes = npt.NDArray[np.int64]
"""A row a block: true positives, false positives, false negatives."""


@dataclass(frozen=True)
class NetworkScores:
    """F1, precision and recall where a network was judged: of cells, of voxels, or in the mean of classes."""

    values: dict[str, float]
    intervals: dict[str, Interval]
    by_class: dict[str, dict[str, float]]
    drawn: str
    """What was drawn anew for the intervals."""
    curve: Curve | None = None
    """Precision and recall of cells, as the threshold falls."""

    def lines(self) -> list[str]:
        """The scores in words."""
        return [
            f"{name}: {value:.3f} ({self.intervals[name]} with 95 % certainty)"
            for name, value in self.values.items()
        ]


@dataclass(frozen=True)
class Counted:
    """What of each class was found, missed and wrong; of cells also how sure the network was of them."""

    tables: dict[str, Mistakes]
    ranked: tuple[Floats, Floats, Floats] | None = None
    """Places of cells found at the lowest threshold, their probabilities, and the points."""


def count_mistakes(
    recipe: NetworkRecipe, document: ModelDocument, predicted: Sequence[Prediction]
) -> Counted:
    """What a network found, missed and got wrong, at the threshold that its training chose."""
    if isinstance(recipe.truth, PointsTruth):
        return _count_cells(recipe.truth, document, predicted)
    return Counted(
        {
            output.name: np.concatenate([_count_voxels(one, recipe, document, number) for one in predicted])
            for number, output in enumerate(document.outputs)
        }
    )


def score_mistakes(recipe: NetworkRecipe, counted: Sequence[Counted]) -> NetworkScores:
    """Scores of one network, or of several that were tested on different parts, taken together."""
    names = counted[0].tables
    tables = {name: np.concatenate([one.tables[name] for one in counted]) for name in names}
    count = len(next(iter(tables.values())))
    ranked = [one.ranked for one in counted if one.ranked is not None]
    if not isinstance(recipe.truth, PointsTruth) or not ranked:
        return _scored(tables, f"{count} blocks of space")
    apart = np.cumsum([0.0, *(_width(one) + 10 * recipe.truth.tolerance for one in ranked)])
    places = np.concatenate([one[0] + (a, 0, 0) for one, a in zip(ranked, apart, strict=False)])
    points = np.concatenate([one[2] + (a, 0, 0) for one, a in zip(ranked, apart, strict=False)])
    chances = np.concatenate([one[1] for one in ranked])
    curve = precision_recall(places, chances, points, recipe.truth.tolerance) if len(places) else None
    return _scored(tables, f"the {count} cells that were found or missed", curve)


def _width(ranked: tuple[Floats, Floats, Floats]) -> float:
    return float(max((places[:, 0].max() for places in (ranked[0], ranked[2]) if len(places)), default=0.0))


def _count_cells(truth: PointsTruth, document: ModelDocument, predicted: Sequence[Prediction]) -> Counted:
    from chunkflow.networks.training.validation import THRESHOLDS, detected_cells

    threshold = document.outputs[0].threshold or THRESHOLDS[0]
    found, _, points = detected_cells(predicted, truth, threshold)
    pairs = matched_pairs(found, points, truth.tolerance)
    hit, missed = np.zeros(len(found), bool), np.ones(len(points), bool)
    hit[pairs[:, 0]], missed[pairs[:, 1]] = True, False
    counts = np.zeros((len(found) + int(missed.sum()), 3), np.int64)
    counts[: len(found), 0], counts[: len(found), 1], counts[len(found) :, 2] = hit, ~hit, 1
    return Counted({truth.name: counts}, detected_cells(predicted, truth, THRESHOLDS[0]))


def _count_voxels(one: Prediction, recipe: NetworkRecipe, document: ModelDocument, number: int) -> Mistakes:
    """True and false positives and false negatives among the voxels of each block of a region."""
    truth = one.region.volume.truth.over(one.region.box)[0]
    known = one.region.judged & (truth != NO_CLASS)
    if isinstance(recipe.truth, ClassesTruth):
        said, true = one.steps.argmax(axis=-1) == number, truth == number
    else:
        threshold = document.outputs[0].threshold or 0.5
        said, true = one.steps[..., 0] >= threshold * FULL - 1e-6, truth == 1
    kinds = (said & true & known, said & ~true & known, ~said & true & known)
    numbers = np.zeros(truth.shape, np.int64)
    for axis, size in enumerate(truth.shape):
        along = np.arange(size) // BLOCK
        numbers = numbers * (along[-1] + 1) + along.reshape([-1 if a == axis else 1 for a in range(3)])
    count = int(numbers.max()) + 1
    return np.stack([np.bincount(numbers[kind], minlength=count) for kind in kinds], 1)


def _scored(counts: dict[str, Mistakes], drawn: str, curve: Curve | None = None) -> NetworkScores:
    measures: dict[str, Callable[[Any], float]] = {"F1": _f1, "precision": _precision, "recall": _recall}
    together = list(counts.values())
    values, intervals = {}, {}
    for name, measure in measures.items():

        def mean(rows: Any, measure: Callable[[Any], float] = measure) -> float:
            return float(np.mean([measure(table[rows].sum(axis=0)) for table in together]))

        everything = np.arange(len(together[0]))
        values[name] = mean(everything)
        intervals[name] = bootstrap_interval(mean, len(everything), SEED)
    by_class = {
        name: {measure: score(table.sum(axis=0)) for measure, score in measures.items()}
        for name, table in counts.items()
    }
    return NetworkScores(values, intervals, by_class, drawn, curve)


def _f1(total: Mistakes) -> float:
    return _share(2 * total[0], 2 * total[0] + total[1] + total[2])


def _precision(total: Mistakes) -> float:
    return _share(total[0], total[0] + total[1])


def _recall(total: Mistakes) -> float:
    return _share(total[0], total[0] + total[2])


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0
