"""The command that exports a table or a layer to one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.errors import BadInput
from chunkflow.formats.export.export import ExportedRows
from chunkflow.formats.export.export import export as write
from chunkflow.formats.export.rows import FORMATS
from chunkflow.jobs.locate import locate
from chunkflow.words import parse_box
from cli.options import parse_names


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
    if table and isinstance(made, ExportedRows):
        made = replace(made, name=table)
    Console(soft_wrap=True).print(str(made), highlight=False)


def _parse_where(text: str) -> dict[str, str]:
    column, equals, value = text.partition("=")
    if text and not (column and equals):
        raise BadInput(f"--where takes COLUMN=VALUE, as in class=neuron, not {text!r}.")
    return {column: value} if text else {}
