"""Rows of a file as they are compared with the objects of a table, whatever program wrote it.

1. The file is read as points are: its format recognised, its places in voxels of the table.
2. Ids may be missing in some rows, or in all. Micrometres beside voxels are kept: either may be edited.
3. A file of a program in which points are drawn (Neuroglancer, napari, cellfinder) has all objects there are;
   in a table rows may have been left out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.data.info import TableInfo
from chunkflow.errors import BadInput
from chunkflow.formats.points.files import open_points, point_pieces, positions
from chunkflow.formats.points.neuroglancer import SEGMENT
from chunkflow.formats.points.rows import Rows
from chunkflow.people.review.decisions import STATUSES
from chunkflow.people.review.log.proposed import MOST_IN_CLASS, UNPRINTABLE
from chunkflow.people.review.objects import Floats

NO_ID = 0
EXACT = 2**53
"""Numbers with decimals are exact up to here; ids that a spreadsheet made such numbers may be others."""
_ID, _MICRONS = "id as it is", "as it is in micrometres"
_BLOCK = 2**20


@dataclass(frozen=True)
class FileRows:
    """What a file says, row by row."""

    rows: Rows
    digest: str
    """Of the file's content."""
    ids: npt.NDArray[np.uint64]
    """NO_ID where a row has none."""
    places: Floats
    """In voxels of the table's layer."""
    microns: Floats | None
    """The places that the columns in micrometres say, in voxels; None where there are none beside voxels."""
    columns: dict[str, list[str]]
    """The texts of `class`, `status` and `note`; empty ones say nothing."""
    edits: npt.NDArray[np.int64] | None
    """The last edit of each object, as of the export; 0 where there was none."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def drawn(self) -> bool:
        """Whether the file has all objects there are."""
        return self.rows.centred or self.rows.word == "point"

    @property
    def whole_voxels(self) -> bool:
        """Whether places are rounded to whole voxels, as cellfinder has them."""
        return self.rows.word == "marker"

    @property
    def foreign(self) -> bool:
        """Whether a class may be a word of the file's program: cellfinder's types, the name of a layer."""
        return self.whole_voxels or (self.rows.word == "point" and self.edits is None)

    def text(self, name: str, row: int) -> str:
        """What a row says in a column of text."""
        return self.columns[name][row] if name in self.columns else ""

    @classmethod
    def read(cls, path: Path, info: TableInfo, columns: Sequence[str] = (), unit: str = "") -> FileRows:
        """Read a file of points or rows in the space of a table."""
        rows = _renamed(open_points(path, info, columns))
        table = pa.concat_tables(list(point_pieces(rows, info, unit))).combine_chunks()
        if "x" not in table.column_names:
            raise BadInput(f"{path} has ids but no places: columns x, y and z are needed.")
        beside = [f"{axis} {_MICRONS}" for axis in "xyz"]
        microns = None
        if set(beside) <= set(table.column_names):
            numbers = [_numbers(rows, table, name) for name in beside]
            microns = np.stack(numbers, 1) * 1e3 / np.array(info.voxel_size)
            _refuse_other_voxels(path, positions(table), microns)
        texts = {
            name: _texts(table[name]) for name in ("class", "status", "note") if name in table.column_names
        }
        _refuse_strange(rows, texts)
        ids = _ids(rows, table[_ID]) if _ID in table.column_names else np.zeros(len(table), np.uint64)
        edits = _numbers(rows, table, "edit").astype(np.int64) if "edit" in table.column_names else None
        return cls(rows, _digest(path), ids, positions(table), microns, texts, edits)


def _renamed(rows: Rows) -> Rows:
    """The file with its ids, some of which may be missing, and its micrometres under names that are taken as
    they are."""
    names = rows.schema.names
    lower = [name.lower() for name in names]
    own = "id" if "id" in lower else SEGMENT if rows.word == "point" else ""
    given = {names[lower.index(own)]: _ID} if own in lower else {}
    if {"x", "y", "z", "x_um", "y_um", "z_um"} <= {*names}:
        given |= {f"{axis}_um": f"{axis} {_MICRONS}" for axis in "xyz"}
    return rows.renamed([given.get(name, name) for name in names]) if given else rows


def _digest(path: Path) -> str:
    content = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            content.update(block)
    return content.hexdigest()


def _texts(column: pa.ChunkedArray) -> list[str]:
    texts: list[str] = pc.utf8_trim_whitespace(pc.fill_null(pc.cast(column, pa.string()), "")).to_pylist()
    return texts


def _refuse_strange(rows: Rows, texts: Mapping[str, Sequence[str]]) -> None:
    """Raise BadInput where a status is none, or a class no text that a class can be."""
    for row, of_class in enumerate(texts.get("class", [])):
        if len(of_class) > MOST_IN_CLASS or UNPRINTABLE.search(of_class):
            raise BadInput(
                f"{rows.name_of(row)}: the class {of_class[:20]!r} has more than {MOST_IN_CLASS} characters, "
                "or some that cannot be printed."
            )
    for row, status in enumerate(texts.get("status", [])):
        if status and status not in STATUSES:
            raise BadInput(
                f"{rows.name_of(row)}: the status is {status!r}; it must be one of {', '.join(STATUSES)}."
            )


def _numbers(rows: Rows, table: pa.Table, name: str) -> Floats:
    """A column of numbers; 0 where it is empty."""
    try:
        values = pc.fill_null(pc.cast(table[name], pa.float64()), 0.0)
    except pa.ArrowException:
        raise BadInput(
            f"{rows.path}: the column {name.split()[0]} holds {table[name].type}, not numbers."
        ) from None
    return np.asarray(np.nan_to_num(values.to_numpy()), np.float64)


def _ids(rows: Rows, column: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    ids = np.zeros(len(column), np.uint64)
    for row, value in enumerate(column.to_pylist()):
        if value in (None, "", 0) or (isinstance(value, float) and math.isnan(value)):
            continue
        ids[row] = _id(rows.name_of(row), value)
    return ids


def _id(where: str, value: str | float) -> int:
    rounded = isinstance(value, float) and value == int(value)
    text = str(int(value)) if rounded else str(value)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**64):
        raise BadInput(f"{where}: the id is {value!r}, not a whole number of 1 or more.")
    if rounded and int(text) >= EXACT:
        raise BadInput(
            f"{where}: the id is {value!r}, a rounded number: keep ids as text or as whole numbers where the "
            "file is edited."
        )
    return int(text)


def _refuse_other_voxels(path: Path, places: Floats, microns: Floats) -> None:
    """Raise BadInput where voxels and micrometres disagree in most rows: nobody moves that many."""
    apart = np.flatnonzero((np.abs(places - microns) > 0.25).any(axis=1))
    if len(apart) * 2 > len(places):
        raise BadInput(
            f"{path}: x, y, z and x_um, y_um, z_um disagree in {len(apart):,} of {len(places):,} rows: "
            "its voxels are those of another layer or mip."
        )
