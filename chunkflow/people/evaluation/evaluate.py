"""Evaluation of points or labels against the truth: scores with intervals, and curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chunkflow.data.atomic import refuse_existing
from chunkflow.data.describe import Known
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.jobs.locate import open_layer
from chunkflow.jobs.means import Means
from chunkflow.kernels.scoring.scores import Interval
from chunkflow.people.evaluation.overlaps import (
    compare_labels,
    refuse_taken,
    scratch_folder,
    write_annotations,
)
from chunkflow.people.evaluation.page import evaluation_parts
from chunkflow.people.evaluation.scores import Comparison, Scores, compare_points
from chunkflow.people.evaluation.sides import (
    Compared,
    SideSource,
    points_of,
    refuse_no_classes,
    refuse_no_distance,
    refuse_unlike,
)
from chunkflow.people.reports.pages import fragment, page


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of points or labels against the truth; in a notebook a page with curves."""

    predicted: str
    truth: str
    box: Box | None
    """The part that was compared; None for all."""
    comparison: Comparison
    scores: Scores

    @property
    def values(self) -> dict[str, float]:
        """Every score by its name."""
        return self.scores.values

    @property
    def intervals(self) -> dict[str, Interval]:
        """Where F1, precision and recall lie with a certainty of 95 %."""
        return self.scores.intervals

    @property
    def f1(self) -> float:
        return self.values["F1"]

    @property
    def precision(self) -> float:
        return self.values["precision"]

    @property
    def recall(self) -> float:
        return self.values["recall"]

    def document(self) -> dict[str, Any]:
        """All numbers as plain JSON: the scores, their intervals and the curves."""
        compared = {"predicted": self.predicted, "truth": self.truth, "box": str(self.box or "")}
        return compared | self.scores.document()

    def write(self, to: str | Path, overwrite: bool = False) -> None:
        """Write the page to a file (.html), and the numbers beside it (.json)."""
        to = Path(to)
        refuse_page(to, overwrite)
        to.write_text(page(self._title, self._parts()), encoding="utf-8")
        to.with_suffix(".json").write_text(json.dumps(self.document(), indent=1) + "\n")

    def write_annotations(
        self,
        to: str | Path,
        workers: int = 0,
        address: str = "",
        serial: bool = False,
        scratch: str | Path | None = None,
    ) -> None:
        """Make an annotation layer of every pair, missed and wrong object, each kind in a colour.

        `to` is its path or URL. The others are those of `evaluate`.
        """
        refuse_taken(str(to))
        means = Means(workers, address, serial)
        with scratch_folder(scratch, means) as work:
            write_annotations(self.comparison, str(to), means, work)

    def __repr__(self) -> str:
        lines = []
        for name, value in self.values.items():
            sure = f"  ({self.intervals[name]} with 95 % certainty)" if name in self.intervals else ""
            shown = f"{value:,.0f}" if isinstance(value, int) else f"{value:.4g}"
            lines.append(f"{name}: {shown}{sure}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return fragment(self._title, self._parts())

    @property
    def _title(self) -> str:
        return f"{Path(self.predicted).name} against {Path(self.truth).name}"

    def _parts(self) -> list[str]:
        held = f"{self.predicted}, held against {self.truth};"
        if self.comparison.overlaps is not None:
            facts = [f"Labels of {held} objects match from an IoU of 0.5."]
        else:
            facts = [f"Points of {held} pairs lie within {self.comparison.tolerance:g} µm."]
        if self.box:
            facts.append(f"Only {self.box} was compared.")
        return evaluation_parts(self.comparison, self.scores, facts)


def evaluate(
    predicted: Compared,
    truth: Compared,
    *,
    tolerance_um: float = 10.0,
    box: Box | None = None,
    like: str | Path | Known = "",
    score: str = "",
    of_class: str = "",
    columns: Sequence[str] = (),
    unit: str = "",
    workers: int = 0,
    address: str = "",
    serial: bool = False,
    scratch: str | Path | None = None,
) -> Evaluation:
    """Score points or labels against the truth, of the same kind.

    Points are paired one to one, as many as lie within `tolerance_um` micrometres of each other: precision,
    recall, F1, and average precision where the points have a score. Labels are compared object by object
    (a match has an IoU of at least 0.5) and voxel by voxel; their overlaps are counted chunk by chunk, by
    so many `workers` (0: as many as cores) of this machine or of the Ray cluster at `address`, or `serial` in
    this process. Intervals of 95 % are from drawing blocks of space anew.

    A side is a file of points, a table, a table of a job as WORK:TABLE, or labels. `box` is the part to be
    compared, in voxels. `like` is the layer whose voxels points are in, where both sides are files; `columns`
    (as in ["z", "y", "x"]) and `unit` (voxels, nm, um or mm) say what files do not. `score` is the column
    that ranks points, by default their probability. Of the class `of_class` alone, where one is named; a side
    that tells no classes is all of that class. `scratch` is the folder in which overlaps are counted, by
    default a temporary one of this machine. Nothing else is written.

    >>> scores = evaluate(work.table("objects"), folder / "truth.csv", tolerance_um=5)
    >>> scores.f1 > 0.9, len(scores.comparison.true.ids) > 100
    (True, True)
    >>> scores.write(folder / "evaluation.html")
    """
    refuse_no_distance(tolerance_um)
    found, true = SideSource.of(predicted), SideSource.of(truth)
    if _are_labels(found, true):
        means = Means(workers, address, serial)
        with scratch_folder(scratch, means) as work:
            comparison = _compare_labels(found, true, box, means, work)
    else:
        layer = _layer_of(found, true, like)
        ranked = points_of(found, layer, columns, unit, of_class, score).within(box)
        marked = points_of(true, layer, columns, unit, of_class, None).within(box)
        refuse_no_classes(ranked, marked, of_class)
        comparison = compare_points(layer, ranked, marked, tolerance_um)
    _refuse_nothing(comparison, true.location, box)
    return Evaluation(found.location, true.location, box, comparison, Scores.of(comparison))


def refuse_page(to: Path, overwrite: bool) -> None:
    """Raise BadInput where the page or the numbers beside it cannot be written."""
    beside = to.with_suffix(".json")
    if to.suffix.lower() != ".html":
        raise BadInput(f"{to} must end in .html.")
    for path in (to, beside):
        refuse_existing(path, overwrite)
    if not to.resolve().parent.is_dir():
        raise BadInput(f"There is no folder {to.resolve().parent} for the report.")


def _refuse_nothing(comparison: Comparison, truth: str, box: Box | None) -> None:
    if not len(comparison.true.ids):
        raise BadInput(f"{truth} has nothing{f' within {box}' if box else ''} to compare with.")


def _are_labels(predicted: SideSource, truth: SideSource) -> bool:
    if predicted.is_labels != truth.is_labels:
        labels, points = (predicted, truth) if predicted.is_labels else (truth, predicted)
        raise BadInput(
            f"{labels.location} is labels, {points.location} is points: measure the labels, and compare the "
            "table with the points."
        )
    return predicted.is_labels


def _compare_labels(
    predicted: SideSource, truth: SideSource, box: Box | None, means: Means, work: Path
) -> Comparison:
    assert predicted.layer is not None
    assert truth.layer is not None
    refuse_unlike(predicted, truth.layer)
    if predicted.layer.bounds != truth.layer.bounds:
        raise BadInput(
            f"{predicted.location} covers {predicted.layer.bounds}, {truth.location} {truth.layer.bounds}: "
            "compare layers of one volume."
        )
    return compare_labels(predicted, truth, box, means, work)


def _layer_of(predicted: SideSource, truth: SideSource, like: str | Path | Known) -> LayerInfo:
    """The layer whose voxels places are told in: the one that is named, or the table's."""
    if not isinstance(like, str) or like:
        return open_layer(like)
    known = predicted.layer or truth.layer
    if known is None:
        raise BadInput(
            f"{predicted.location} and {truth.location} are both files: name the layer whose voxels they are "
            "in (like)."
        )
    return known
