"""Points or a table brought in: a file becomes a table layer, which jobs read as one that a task has made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chunkflow.data.describe import Known
from chunkflow.data.info import LabelsInfo, LayerInfo, TableInfo, full_url
from chunkflow.data.table_writer import write_table
from chunkflow.data.tables import Table, table_rows
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.formats.points.files import Assigned, assign, open_points, point_pieces, read_points
from chunkflow.formats.points.table import Completed
from chunkflow.jobs.locate import open_layer, open_table


@dataclass(frozen=True)
class Imported:
    """A table layer that was made of a file of points."""

    table: TableInfo
    rows: int
    assigned: Assigned | None = None
    """The object of each point, where they were given to objects."""


def import_points(
    file: str | Path,
    to: str | Path,
    like: str | Path | Known,
    *,
    columns: Sequence[str] = (),
    unit: str = "",
    objects: str | Path | Table | TableInfo | None = None,
    mip: int = 0,
) -> Imported:
    """Make a table layer of a file of points, or of a table that was exported.

    Reads CSV, TSV, JSON, HDF5, Parquet and cellfinder's XML. `to` is the path or URL of the table, `like`
    the image, labels or table whose volume the points lie in, at `mip`. `columns` names the file's columns
    in their order, where it does not; x, y, z are voxels of that mip, or of `unit` (nm, um, mm); x_um, y_um,
    z_um are micrometres. Rows keep their ids; points without are named by the voxel that they lie in. With
    `objects`, a table, each gets the id of the object under it, or of the nearest whose radius reaches it.

    >>> marked = import_points(folder / "truth.csv", folder / "marked", like=folder / "dapi")
    >>> Table(marked.table).columns[:4]
    ['id', 'x', 'y', 'z']
    """
    file, space = Path(file), open_layer(like, mip)
    rows = open_points(file, space, columns)
    assigned = None
    if objects is None:
        read = point_pieces(rows, space, unit)
    else:
        points, assigned = marked(read_points(file, space, columns, unit), space, open_table(objects))
        read = iter([points])
    named = objects is not None or "id" in [name.lower() for name in rows.schema.names]
    complete = Completed(read, _table_in(space, str(to), named))
    made = write_table(complete.info, complete.rows())
    return Imported(made, complete.count, assigned)


def _table_in(space: LayerInfo, to: str, named: bool) -> TableInfo:
    """The table to be made; `named` is whether its ids are those of objects."""
    return TableInfo(
        url=full_url(to),
        volume=space.volume,
        voxel_size=space.voxel_size,
        labels=space.labels_url if named else "",
    )


def marked(points: pa.Table, space: LayerInfo, objects: TableInfo) -> tuple[pa.Table, Assigned]:
    """The points under the ids of the objects that they mark, and how they were assigned."""
    labels = Volume(space) if isinstance(space, LabelsInfo) else None
    found = assign(points, table_rows(objects), space, labels)
    kept = points.drop_columns(["id"]) if "id" in points.column_names else points
    kept = kept.append_column("id", pa.array(found.ids)).filter(pa.array(found.ids != 0))
    if len(found.doubled):
        kept = _once(kept, found.doubled)
    return kept, found


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
