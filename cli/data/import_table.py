"""The command that brings points or a table in: a file becomes a table layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.errors import BadInput
from chunkflow.jobs.importing import import_points
from chunkflow.words import counted, plain
from cli.options import parse_names


def import_table(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, TSV, JSON, HDF5, Parquet, or cellfinder's XML.")
    ],
    dest: Annotated[str, typer.Argument(metavar="DEST", help="The table to make: a path or URL.")],
    like: Annotated[
        str, typer.Option(metavar="LAYER", help="The image, labels or table whose volume the points lie in.")
    ],
    columns: Annotated[
        str, typer.Option(metavar="NAMES", help="The file's columns in their order, as in z,y,x,class.")
    ] = "",
    unit: Annotated[str, typer.Option(help="Of x, y, z: voxels, nm, um or mm.")] = "",
    objects: Annotated[
        str, typer.Option(metavar="WORK:TABLE", help="Give each point the id of the object that it marks.")
    ] = "",
    mip: Annotated[int, typer.Option(min=0, help="The mip of LAYER whose voxels are meant.")] = 0,
) -> None:
    """Make a table layer of a file of points, or of a table that was exported.

    Files of chunkflow export, of napari, cellfinder and Neuroglancer are read as they are; others name their
    columns x, y, z (voxels, or with --unit) or x_um, y_um, z_um. Rows keep their ids; points without are
    named by the voxel that they lie in. With --objects a point gets the id of the object under it or, where
    there is none, of the nearest whose radius reaches it.

    Example: chunkflow import marked.csv /data/rat/marked --like /data/rat/dapi
    """
    if objects:
        work, colon, table = objects.rpartition(":")
        if not colon or not work or not table:
            raise BadInput(f"--objects takes WORK:TABLE, as in work/demo:objects, not {objects!r}.")
    named = parse_names(columns)
    made = import_points(file, dest, like, columns=named, unit=unit, objects=objects or None, mip=mip)
    console = Console(soft_wrap=True)
    if made.assigned is not None and made.assigned.said:
        console.print(made.assigned.said, style="yellow", highlight=False)
    console.print(f"{plain(made.table.url)} has {counted(made.rows, 'row')}.", highlight=False)
