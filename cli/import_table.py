"""Bring points or a table in: a file becomes a table layer, which jobs read as one that a task has made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer
from rich.console import Console

from chunkflow.data.describe import layer_at, read_info, table_at
from chunkflow.data.info import TABLE_TYPE, LabelsInfo, LayerInfo, TableInfo, full_url
from chunkflow.errors import BadInput
from chunkflow.kernels.morton import voxel_ids
from chunkflow.volume import Volume
from chunkflow.words import counted, plain
from cli.export import job_source
from cli.table_layer import write_table
from cli.work import Work
from tasks.point_files import assign, open_points, point_pieces, positions, read_points

FIRST = ("id", "x", "y", "z", "x_um", "y_um", "z_um")


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
    console = Console(soft_wrap=True)
    space = space_of(like, mip)
    rows = open_points(file, space, columns)
    if objects:
        points, said = marked(file, space, columns, unit, objects)
        if said:
            console.print(said, style="yellow", highlight=False)
        read = iter([points])
    else:
        read = point_pieces(rows, space, unit)
    named = bool(objects) or "id" in [name.lower() for name in rows.schema.names]
    info = TableInfo(
        url=full_url(dest),
        volume=space.volume,
        voxel_size=space.voxel_size,
        labels=space.labels_url if named else "",
    )
    complete = Completed(read, info)
    write_table(info, complete.rows())
    console.print(f"{plain(info.url)} has {counted(complete.count, 'row')}.", highlight=False)


def space_of(like: str, mip: int) -> LayerInfo:
    """The volume that points lie in."""
    url = full_url(like)
    return table_at(url) if read_info(url).get("@type") == TABLE_TYPE else layer_at(url, mip)


class Completed:
    """Rows as the table has them: with ids and micrometres, columns in the usual order; and how many."""

    def __init__(self, pieces: Iterator[pa.Table], info: TableInfo) -> None:
        self._pieces, self._info, self.count = pieces, info, 0

    def rows(self) -> Iterator[pa.Table]:
        schema = None
        for piece in self._pieces:
            made = self._complete(piece)
            schema = schema or made.schema
            self.count += len(made)
            yield made.cast(schema)

    def _complete(self, piece: pa.Table) -> pa.Table:
        columns: dict[str, Any] = {name: _plain(piece[name]) for name in piece.column_names}
        if "x" in columns:
            places, first = positions(piece), np.array(self._info.volume.start)
            if "id" not in columns:
                voxels = np.clip(
                    np.floor(places).astype(np.int64) - first, 0, np.array(self._info.volume.size) - 1
                )
                columns["id"] = pa.array(voxel_ids(voxels, self._info.volume.size))
            for axis, name in enumerate(("x_um", "y_um", "z_um")):
                columns.setdefault(name, pa.array(places[:, axis] * (self._info.voxel_size[axis] / 1e3)))
        if pc.any(pc.equal(columns["id"], 0)).as_py():
            row = self.count + pc.index(columns["id"], 0).as_py() + 1
            raise BadInput(f"Row {row} has the id 0, which means background: no object may have it.")
        order = [name for name in FIRST if name in columns] + [n for n in columns if n not in FIRST]
        return pa.table({name: columns[name] for name in order})


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dictionaries differ from piece to piece; their values do not."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def marked(file: Path, space: LayerInfo, columns: str, unit: str, objects: str) -> tuple[pa.Table, str]:
    """The points under the ids of the objects that they mark, and what is to be said of the others."""
    work, colon, table = objects.rpartition(":")
    if not colon or not work or not table:
        raise BadInput(f"--objects takes WORK:TABLE, as in work/demo:objects, not {objects!r}.")
    points = read_points(file, space, columns, unit)
    labels = Volume(space) if isinstance(space, LabelsInfo) else None
    found = assign(points, job_source(Work.open(work), table).pieces, space, labels)
    kept = points.drop_columns(["id"]) if "id" in points.column_names else points
    kept = kept.append_column("id", pa.array(found.ids)).filter(pa.array(found.ids != 0))
    if len(found.doubled):
        kept = _once(kept, found.doubled)
    return kept, found.said


def _once(points: pa.Table, doubled: Any) -> pa.Table:
    """The first point of each object, where all that it has say the same of it."""
    if "class" in points.column_names:
        pairs = points.select(["id", "class"]).group_by(["id", "class"]).aggregate([])
        ids, counts = np.unique(pairs["id"].to_numpy(), return_counts=True)
        at_odds = ids[counts > 1]
        if len(at_odds):
            raise BadInput(
                f"Objects with points of several classes: {len(at_odds)} ({int(at_odds[0])} among them); "
                "leave one point in each."
            )
    _, first = np.unique(points["id"].to_numpy(), return_index=True)
    return points.take(np.sort(first))
