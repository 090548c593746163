"""The command that exports a table or a layer to one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from chunkflow.errors import BadInput
from chunkflow.formats.export.export import ExportedRows
from chunkflow.formats.export.export import export as write
from chunkflow.formats.export.rows import FORMATS
from chunkflow.jobs.locate import locate
from chunkflow.words import counted, parse_box
from cli.options import parse_names

if TYPE_CHECKING:
    from chunkflow.formats.export.volumes import ExportedVoxels


def export(
    what: Annotated[
        str, typer.Argument(metavar="WORK|LAYER", help="The work folder of a job, or a layer by itself.")
    ],
    table: Annotated[str, typer.Argument(metavar="[NAME]", help="Of a job: the table or the layer.")] = "",
    *,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The file; its ending says how it is written.")],
    form: Annotated[
        str, typer.Option("--as", metavar="FORMAT", help=f"Write rows as {', '.join(FORMATS)}.")
    ] = "",
    where: Annotated[
        str, typer.Option(metavar="COLUMN=VALUE", help="Only rows that have this value, as in class=neuron.")
    ] = "",
    columns: Annotated[
        str, typer.Option(metavar="NAMES", help="Only these columns, as in id,x,y,z,class.")
    ] = "",
    box: Annotated[str, typer.Option(help="Of an image or labels: the part, as in 0-256,0-256,0-64.")] = "",
    mip: Annotated[int, typer.Option(min=0, help="Of an image or labels: the mip.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE where it exists.")] = False,
) -> None:
    """Write a table or a layer to one file.

    Either is named by its place, or by its name in a job, whose tables must be finished. Rows of tables and
    of annotation layers go to .csv, .parquet, .json or .h5, in the order of their ids' ranges; or, by --as,
    to the points of napari (.csv), cellfinder (.xml) or Neuroglancer (.json). Images and labels go to TIFF
    and other files of microscopy programs.

    Example: chunkflow export work/demo objects --to objects.csv
    """
    wanted, part = _parse_where(where), parse_box(box)
    made = write(
        locate(what, table),
        to,
        form=form,
        where=wanted,
        columns=parse_names(columns),
        box=part,
        mip=mip,
        overwrite=overwrite,
    )
    said = said_rows(made, table) if isinstance(made, ExportedRows) else said_voxels(made)
    Console(soft_wrap=True).print(said, highlight=False)


def _parse_where(text: str) -> dict[str, str]:
    column, equals, value = text.partition("=")
    if text and not (column and equals):
        raise BadInput(f"--where takes COLUMN=VALUE, as in class=neuron, not {text!r}.")
    return {column: value} if text else {}


def said_rows(made: ExportedRows, table: str) -> str:
    return f"{made.path} has {counted(made.rows, 'row')} of {table or made.name}."


def said_voxels(made: ExportedVoxels) -> str:
    """The size and place of what was written, so that it can be checked in the other program."""
    size = " x ".join(map(str, made.box.size))
    unit = " x ".join(f"{s / 1000:g}" for s in made.voxel_size)
    start = ", ".join(map(str, made.box.start))
    more = f" in {made.mips} mips" if made.mips > 1 else ""
    ids = f" Its ids are numbered anew; which was which is in {made.ids}." if made.ids else ""
    return (
        f"{size} voxels (x, y, z) of {made.dtype}, of {unit} micrometres, from {start}{more} are in "
        f"{made.path}.{ids}"
    )
