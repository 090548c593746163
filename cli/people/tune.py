"""The command that finds a task's parameters from a few cells that a person marked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.data.atomic import refuse_existing
from chunkflow.errors import BadInput
from chunkflow.people.learning.tuning import DIAMETER_UM
from chunkflow.people.learning.tuning import tune as tune_segment
from chunkflow.words import parse_box, parse_tolerance
from cli.options import parse_names

DIAMETERS = "4-32"

What = Annotated[str, typer.Argument(metavar="TASK", help="The task whose parameters are wanted: segment.")]
Image = Annotated[str, typer.Argument(metavar="IMAGE", help="The image: path or URL, perhaps with @mip.")]
Marked = Annotated[
    Path, typer.Option(metavar="FILE", help="The centres of all cells in a region, in any points format.")
]
RegionBox = Annotated[
    str,
    typer.Option(help="The region, in voxels of IMAGE: X0-X1,Y0-Y1,Z0-Z1; else what the points span."),
]
FolderOption = Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write what was found.")]
Tolerance = Annotated[
    str, typer.Option(help="How far a peak may lie from the centre of its cell, micrometres: 10um.")
]
Diameter = Annotated[
    float,
    typer.Option(help="Of a cell, micrometres, as you would give it to segment: the choice is drawn to it."),
]
Diameters = Annotated[str, typer.Option(metavar="LOW-HIGH", help="Diameters to try beside it, micrometres.")]
Channel = Annotated[int, typer.Option(min=0, help="Which channel, where the image has several.")]
OfClass = Annotated[
    str, typer.Option("--class", help="Take only points of this class, or of this layer of a state.")
]
FileColumns = Annotated[str, typer.Option(help="The file's columns, where it does not name them: z,y,x")]
FileUnit = Annotated[str, typer.Option(help="The unit of x, y, z: voxels, nm, um or mm.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is in FOLDER.")]


def tune(
    task: What,
    image: Image,
    points: Marked,
    box: RegionBox = "",
    to: FolderOption = Path("tuned"),
    diameter: Diameter = DIAMETER_UM,
    tolerance: Tolerance = "10um",
    diameters: Diameters = DIAMETERS,
    channel: Channel = 0,
    of_class: OfClass = "",
    columns: FileColumns = "",
    unit: FileUnit = "",
    overwrite: Overwrite = False,
) -> None:
    """Find the diameter, threshold and contrast of segment from the cells marked in a small region.

    Mark all cells of a region, some 20 or more, as what is not marked there counts as no cell. Every setting
    is scored by its F1 there, and the middle of the best ones is chosen, drawn to the diameter given and to
    the contrast that segment decides for it with threshold: auto. What is proposed is written as the task's
    block for a job file: that choice or, where the cells do not show that it is better, threshold: auto. A
    report shows what both find, and how sure the difference is.

    Example: chunkflow tune segment /data/dapi --points marked.csv --box 0-200,0-200,0-60 --diameter 9
    """
    if task != "segment":
        raise BadInput(f"There is nothing to tune in {task!r}: only segment can be tuned.")
    distance, sizes, part = parse_tolerance(tolerance), parse_diameters(diameters), parse_box(box)
    refuse_existing(to, overwrite)
    tuned = tune_segment(
        image,
        points,
        part,
        diameter_um=diameter,
        tolerance_um=distance,
        diameters_um=sizes,
        channel=channel,
        of_class=of_class,
        columns=parse_names(columns),
        unit=unit,
    )
    tuned.write(to, overwrite)
    console = Console(soft_wrap=True)
    console.print(str(tuned), highlight=False, markup=False)
    console.print(
        f"It is in {to / 'segment.yaml'}, and how it was found in {to / 'report.html'}", highlight=False
    )


def parse_diameters(text: str) -> tuple[float, float]:
    """The smallest and the largest diameter as typed, LOW-HIGH; or one alone."""
    low, dash, high = text.partition("-")
    try:
        return float(low), float(high if dash else low)
    except ValueError:
        raise BadInput(
            f"--diameters takes LOW-HIGH in micrometres, as in {DIAMETERS}, not {text!r}."
        ) from None
