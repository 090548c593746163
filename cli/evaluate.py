"""Hold what was found against the truth: points or labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.data.describe import layer_at
from chunkflow.data.info import LayerInfo, full_url
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.jobs.means import Means
from chunkflow.words import parse_box, parse_tolerance
from cli.evaluate_scores import Comparison, Scores, compare_points
from cli.evaluate_sides import Place, points_of, refuse_unlike
from cli.options import Address, Serial, Workers

Predicted = Annotated[
    str, typer.Argument(metavar="PREDICTED", help="Points (a file, a table, WORK:TABLE) or labels.")
]
Truth = Annotated[str, typer.Argument(metavar="TRUTH", help="The truth, of the same kind.")]
Tolerance = Annotated[
    str, typer.Option(help="How far apart a point and a true one may lie, micrometres: 10um.")
]
ReportFile = Annotated[
    Path, typer.Option(metavar="FILE", help="The report; its numbers lie beside it as .json.")
]
MistakesLayer = Annotated[
    str, typer.Option(metavar="DEST", help="Make an annotation layer of what is found, missed and wrong.")
]
PartOf = Annotated[str, typer.Option(help="Compare a part alone, in voxels: X0-X1,Y0-Y1,Z0-Z1.")]
Like = Annotated[
    str, typer.Option(metavar="LAYER", help="Whose voxels they are, where both are files of points.")
]
ScoreColumn = Annotated[
    str, typer.Option(metavar="COLUMN", help="What ranks the points; by default their probability.")
]
OfClass = Annotated[str, typer.Option("--class", help="Compare points of this class alone.")]
FileColumns = Annotated[str, typer.Option(help="The files' columns, where they do not name them: z,y,x")]
FileUnit = Annotated[str, typer.Option(help="The unit of x, y, z in files: voxels, nm, um or mm.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace FILE where it exists.")]


def evaluate(
    predicted: Predicted,
    truth: Truth,
    tolerance: Tolerance = "10um",
    to: ReportFile = Path("evaluation.html"),
    annotations: MistakesLayer = "",
    box: PartOf = "",
    like: Like = "",
    score: ScoreColumn = "",
    of_class: OfClass = "",
    columns: FileColumns = "",
    unit: FileUnit = "",
    workers: Workers = 0,
    address: Address = "",
    serial: Serial = False,
    overwrite: Overwrite = False,
) -> None:
    """Score points or labels against the truth, with a report of the numbers, curves and mistakes.

    Points are paired one to one within the tolerance: precision, recall, F1 and average precision. Labels are
    compared object by object and voxel by voxel: F1 and average precision over IoU, adapted Rand error,
    variation of information; their overlaps are counted chunk by chunk. Intervals are from drawing blocks of
    space anew.

    Example: chunkflow evaluate work/rat:objects marked.csv --tolerance 10um --to evaluation.html
    """
    means, distance, part = Means(workers, address, serial), parse_tolerance(tolerance), parse_box(box)
    _refuse(to, annotations, overwrite)
    from cli.evaluate_jobs import workplace, write_annotations
    from cli.evaluate_page import evaluation_page

    sides = Place.of(predicted), Place.of(truth)
    with workplace(to) as work:
        if _are_labels(*sides):
            comparison = _compare_labels(*sides, part, means, work)
            what = f"Labels of {predicted}, held against {truth}; objects match from an IoU of 0.5."
        else:
            layer = _layer_of(*sides, like)
            found = points_of(sides[0], layer, columns, unit, of_class, score).within(part)
            true = points_of(sides[1], layer, columns, unit, of_class, None).within(part)
            comparison = compare_points(layer, found, true, distance)
            what = f"Points of {predicted}, held against {truth}; pairs lie within {distance:g} µm."
        _refuse_nothing(comparison, truth, part)
        scores = Scores.of(comparison)
        if annotations:
            write_annotations(comparison, annotations, means, work)
    facts = [what, f"Only {part} was compared."] if part else [what]
    page = evaluation_page(f"{Path(predicted).name} against {Path(truth).name}", comparison, scores, facts)
    _write(to, page, {"predicted": predicted, "truth": truth, "box": str(part or "")}, scores)
    _say(Console(soft_wrap=True), scores, to, annotations)


def _refuse(to: Path, annotations: str, overwrite: bool) -> None:
    from cli.evaluate_jobs import refuse_taken

    beside = to.with_suffix(".json")
    if to.suffix.lower() != ".html":
        raise BadInput(f"--to {to} must end in .html.")
    if (to.exists() or beside.exists()) and not overwrite:
        raise BadInput(f"{to if to.exists() else beside} exists already: name another, or say --overwrite.")
    if not to.resolve().parent.is_dir():
        raise BadInput(f"There is no folder {to.resolve().parent} for the report.")
    refuse_taken(annotations)


def _refuse_nothing(comparison: Comparison, truth: str, part: Box | None) -> None:
    if not len(comparison.true.ids):
        raise BadInput(f"{truth} has nothing{f' within {part}' if part else ''} to compare with.")


def _write(to: Path, page: str, asked: dict[str, str], scores: Scores) -> None:
    to.write_text(page, encoding="utf-8")
    to.with_suffix(".json").write_text(json.dumps({**asked, **scores.document()}, indent=1) + "\n")


def _say(console: Console, scores: Scores, to: Path, annotations: str) -> None:
    for name, value in scores.values.items():
        sure = f"  ({scores.intervals[name]} with 95 % certainty)" if name in scores.intervals else ""
        shown = f"{value:,.0f}" if isinstance(value, int) else f"{value:.4g}"
        console.print(f"{name}: {shown}{sure}", highlight=False)
    console.print(f"The report is at {to}, the numbers at {to.with_suffix('.json')}", highlight=False)
    if annotations:
        console.print(f"What was found, missed and wrong is a layer at {annotations}", highlight=False)


def _are_labels(predicted: Place, truth: Place) -> bool:
    if predicted.is_labels != truth.is_labels:
        labels, points = (predicted, truth) if predicted.is_labels else (truth, predicted)
        raise BadInput(
            f"{labels.location} is labels, {points.location} is points: measure the labels, and compare the "
            "table with the points."
        )
    return predicted.is_labels


def _compare_labels(predicted: Place, truth: Place, part: Box | None, means: Means, work: Path) -> Comparison:
    from cli.evaluate_jobs import compare_labels

    assert predicted.layer is not None
    assert truth.layer is not None
    refuse_unlike(predicted, truth.layer)
    if predicted.layer.bounds != truth.layer.bounds:
        raise BadInput(
            f"{predicted.location} covers {predicted.layer.bounds}, {truth.location} {truth.layer.bounds}: "
            "compare layers of one volume."
        )
    return compare_labels(predicted, truth, part, means, work)


def _layer_of(predicted: Place, truth: Place, like: str) -> LayerInfo:
    """Whose voxels places are told in: the table's, or those of the layer that is named."""
    known = predicted.layer or truth.layer
    if like:
        return layer_at(full_url(like))
    if known is None:
        raise BadInput(
            f"{predicted.location} and {truth.location} are both files: name the layer whose voxels they are "
            "in, --like LAYER."
        )
    return known
