"""Points that people or other programs marked: read from a file of any usual format.

1. The format is recognised by what the file begins with: Parquet, HDF5, cellfinder's XML, Neuroglancer's
   JSON, a JSON list of rows, else CSV or TSV, of napari or anyone.
2. Its columns say what a place is: x, y, z in voxels (or in `unit`), else x_um, y_um, z_um and the like.
   Places become voxels of the layer, absolute; the middle of voxel i is i + 0.5.
3. Each place is looked at: one that is no number is named by its line, and those that lie outside of the
   volume are counted, with how many would lie inside in another order of axes or another unit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.formats.points.binary import open_hdf5, open_parquet
from chunkflow.formats.points.cellfinder import open_cellfinder
from chunkflow.formats.points.json_rows import open_rows
from chunkflow.formats.points.matching import Assigned, assign
from chunkflow.formats.points.neuroglancer import open_state
from chunkflow.formats.points.places import Reading, inside, positions
from chunkflow.formats.points.rows import Rows
from chunkflow.formats.points.text import open_text
from chunkflow.words import refuse_one_text

__all__ = ["Assigned", "assign", "open_points", "point_pieces", "positions", "read_points"]

HDF5_BEGIN = b"\x89HDF\r\n\x1a\n"


def read_points(path: Path, layer: LayerInfo, columns: Sequence[str] = (), unit: str = "") -> pa.Table:
    """The points of a file: `x`, `y`, `z` in voxels of `layer`, `id` and `class` where it has them, and all
    other columns as they are.

    `columns` names the file's columns, where it does not or names them otherwise; `unit` is that of x, y, z.
    """
    rows = open_points(path, layer, columns)
    pieces = list(point_pieces(rows, layer, unit))
    return pa.concat_tables(pieces).combine_chunks()


def open_points(path: Path, layer: LayerInfo, columns: Sequence[str] = ()) -> Rows:
    """The file, its format recognised, its columns named."""
    refuse_one_text("columns", columns)
    if not path.is_file():
        raise BadInput(
            f"{path} is a folder, not a file of points." if path.is_dir() else f"There is no {path}."
        )
    with path.open("rb") as file:
        begin = file.read(2**12)
    mark = begin.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if not mark:
        raise BadInput(f"{path} is empty.")
    if begin.startswith(b"PAR1"):
        rows = open_parquet(path)
    elif begin.startswith(HDF5_BEGIN):
        rows = open_hdf5(path)
    elif mark == b"<":
        rows = open_cellfinder(path)
    elif mark == b"{":
        rows = open_state(path, _document(path), layer.voxel_size)
    elif mark == b"[":
        rows = open_rows(path)
    else:
        return _named(open_text(path, columns), columns)
    return _named(rows, columns)


def _named(rows: Rows, columns: Sequence[str]) -> Rows:
    names = list(columns) or rows.schema.names
    return rows if names == rows.schema.names else rows.renamed(names)


def _document(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not whole JSON: {error}.") from None
    if "layers" not in document and "annotations" not in document:
        raise BadInput(
            f"{path} is JSON, but neither a list of rows nor a state or an annotation layer of Neuroglancer."
        )
    assert isinstance(document, dict)
    return document


def point_pieces(rows: Rows, layer: LayerInfo, unit: str = "") -> Iterator[pa.Table]:
    """The points in pieces, the first without rows. What is wrong with the file as a whole (points outside
    of the volume) is raised at the end."""
    reading = Reading.of(rows, layer, unit)
    yield reading.convert(rows.schema.empty_table(), 0)
    count = outside = 0
    for piece in rows.pieces():
        made = reading.convert(piece, count)
        if reading.columns:
            outside += len(made) - int(inside(positions(made), layer).sum())
        count += len(piece)
        if not outside:
            yield made
    if outside:
        raise BadInput(reading.said_outside(outside, count))
