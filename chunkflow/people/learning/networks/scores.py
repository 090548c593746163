"""Scores of a trained network where it was judged, with intervals from drawing blocks of space anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chunkflow.kernels.scoring.scores import Curve, Interval, bootstrap_interval
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.placement import least_step
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.truths import NO_CLASS, CellsTruth, ClassesTruth
from chunkflow.people.learning.networks.cells import AskedPlaces, Wrong, asked_places, control_places, share

if TYPE_CHECKING:
    from chunkflow.networks.training.regions import Predicted, Prediction

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
    cells: AskedPlaces | None = None
    """Of cells: all that was found or asked about, by the honest protocol."""
    controls: AskedPlaces | None = None
    """Cells and places at random, the usual protocol of papers."""

    @property
    def curve(self) -> Curve | None:
        """Precision and recall of cells, as the threshold falls."""
        return None if self.cells is None else self.cells.curve

    def lines(self) -> list[str]:
        """The scores in words."""
        return [
            f"{name}: {value:.3f} ({self.intervals[name]} with 95 % certainty)"
            for name, value in self.values.items()
        ]


@dataclass(frozen=True)
class Counted:
    """What of each class was found, missed and wrong; of cells also all that the network was asked about."""

    tables: dict[str, Mistakes]
    cells: AskedPlaces | None = None
    controls: AskedPlaces | None = None
    wrong: tuple[Wrong, ...] = ()
    """What was taken for cells and is none."""


def count_mistakes(recipe: NetworkRecipe, document: ModelDocument, predicted: Sequence[Predicted]) -> Counted:
    """What a network found, missed and got wrong, at the threshold that its training chose."""
    from chunkflow.networks.training.regions import voxelwise

    if isinstance(recipe.truth, CellsTruth):
        threshold = document.outputs[0].taken_from
        found = [asked_places(one, recipe.truth, threshold) for one in predicted]
        cells = AskedPlaces.together([asked for asked, _ in found])
        controls = AskedPlaces.together([control_places(one, threshold) for one in predicted])
        wrong = tuple(place for _, places in found for place in places)
        return Counted({recipe.truth.name: cells.mistakes}, cells, controls, wrong)
    return Counted(
        {
            output.name: np.concatenate(
                [_count_voxels(one, recipe, document, number) for one in voxelwise(predicted)]
            )
            for number, output in enumerate(document.outputs)
        }
    )


def score_mistakes(counted: Sequence[Counted]) -> NetworkScores:
    """Scores of one network, or of several that were tested on different parts, taken together."""
    names = counted[0].tables
    tables = {name: np.concatenate([one.tables[name] for one in counted]) for name in names}
    count = len(next(iter(tables.values())))
    cells = [one.cells for one in counted if one.cells is not None]
    controls = [one.controls for one in counted if one.controls is not None]
    if not cells:
        return _scored(tables, f"{count} blocks of space")
    drawn = f"the {count} cells that were found, missed or wrong"
    return _scored(tables, drawn, AskedPlaces.together(cells), AskedPlaces.together(controls))


def _count_voxels(one: Prediction, recipe: NetworkRecipe, document: ModelDocument, number: int) -> Mistakes:
    """True and false positives and false negatives among the voxels of each block of a region."""
    truth = one.region.volume.truth.over(one.region.box)[0]
    known = one.region.judged & (truth != NO_CLASS)
    if isinstance(recipe.truth, ClassesTruth):
        said, true = one.steps.argmax(axis=-1) == number, truth == number
    else:
        threshold = document.outputs[0].taken_from
        said, true = one.steps[..., 0] >= least_step(threshold), truth == 1
    kinds = (said & true & known, said & ~true & known, ~said & true & known)
    numbers = np.zeros(truth.shape, np.int64)
    for axis, size in enumerate(truth.shape):
        along = np.arange(size) // BLOCK
        numbers = numbers * (along[-1] + 1) + along.reshape([-1 if a == axis else 1 for a in range(3)])
    count = int(numbers.max()) + 1
    return np.stack([np.bincount(numbers[kind], minlength=count) for kind in kinds], 1)


def _scored(
    counts: dict[str, Mistakes],
    drawn: str,
    cells: AskedPlaces | None = None,
    controls: AskedPlaces | None = None,
) -> NetworkScores:
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
    return NetworkScores(values, intervals, by_class, drawn, cells, controls)


def _f1(total: Mistakes) -> float:
    return share(2 * total[0], 2 * total[0] + total[1] + total[2])


def _precision(total: Mistakes) -> float:
    return share(total[0], total[0] + total[1])


def _recall(total: Mistakes) -> float:
    return share(total[0], total[0] + total[2])
