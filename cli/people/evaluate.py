"""The command that scores points or labels against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.jobs.means import Means
from chunkflow.people.evaluation.evaluate import Evaluation, refuse_page
from chunkflow.people.evaluation.evaluate import evaluate as score_against
from chunkflow.people.evaluation.overlaps import refuse_taken
from chunkflow.words import parse_box, parse_tolerance
from cli.options import Address, Serial, WorkersOption, parse_names

Predicted = Annotated[
    str, typer.Argument(metavar="PREDICTED", help="Points (a file, a table, WORK:TABLE) or labels.")
]
TruthArgument = Annotated[str, typer.Argument(metavar="TRUTH", help="The truth, of the same kind.")]
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
    truth: TruthArgument,
    tolerance: Tolerance = "10um",
    to: ReportFile = Path("evaluation.html"),
    annotations: MistakesLayer = "",
    box: PartOf = "",
    like: Like = "",
    score: ScoreColumn = "",
    of_class: OfClass = "",
    columns: FileColumns = "",
    unit: FileUnit = "",
    workers: WorkersOption = 0,
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
    Means(workers, address, serial)  # refuses what does not go together
    tolerance_um, part = parse_tolerance(tolerance), parse_box(box)
    refuse_page(to, overwrite)
    refuse_taken(annotations)
    scratch = to.resolve().parent
    found = score_against(
        predicted,
        truth,
        tolerance_um=tolerance_um,
        box=part,
        like=like,
        score=score,
        of_class=of_class,
        columns=parse_names(columns),
        unit=unit,
        workers=workers,
        address=address,
        serial=serial,
        scratch=scratch,
    )
    if annotations:
        found.write_annotations(annotations, workers, address, serial, scratch)
    found.write(to, overwrite)
    _tell(found, to, annotations)


def _tell(found: Evaluation, to: Path, annotations: str) -> None:
    """Print the scores, and where the report and the layer are."""
    console = Console(soft_wrap=True)
    console.print(str(found), highlight=False, markup=False)
    console.print(f"The report is at {to}, the numbers at {to.with_suffix('.json')}", highlight=False)
    if annotations:
        console.print(f"What was found, missed and wrong is a layer at {annotations}", highlight=False)
