"""A reviewed table as rows: what people decided beside what the table says, added objects at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chunkflow.data.atomic import refuse_existing
from chunkflow.data.info import TableInfo, full_url
from chunkflow.data.tables import table_rows
from chunkflow.formats.export.export import ExportedRows
from chunkflow.formats.export.rows import RowSource, opener_of, write_rows
from chunkflow.people.review.decisions import ADDED, DELETED, UNDECIDED
from chunkflow.people.review.labels import REJECTED
from chunkflow.people.review.live import UNTOUCHED
from chunkflow.people.review.log.edits import ObjectState, ReviewedObject
from chunkflow.people.review.objects import PLACES
from chunkflow.people.review.outgoing.layers import LAYERS, refuse_taken_layer, write_layer
from chunkflow.people.review.reviewing import ReviewPlace
from chunkflow.people.review.shapes import middle_of
from chunkflow.words import counted, plain

DECISIONS = {
    **dict.fromkeys(("class", "status", "decided_by", "decided_at", "note"), pa.string()),
    "edit": pa.int64(),
}
"""The columns of decisions, and their types; `edit` is the number of an object's last edit, 0 without."""
Current = Mapping[int, ReviewedObject]


@dataclass(frozen=True, repr=False)
class ExportedReview(ExportedRows):
    """A file of reviewed objects that was written."""

    edit: int
    """The last edit that is in it: with this number the same file is written again."""
    url: str = ""
    """Where it lies, if it is a layer."""

    def __repr__(self) -> str:
        place = plain(self.url) if self.url else self.path
        return f"{place} has {counted(self.rows, 'row')} of {self.name}, as of edit {self.edit}."


def export_review(
    place: str | Path,
    to: str | Path,
    *,
    database: str | Path = "",
    edit: int | None = None,
    form: str = "",
    deleted: bool = False,
    overwrite: bool = False,
) -> ExportedReview:
    """Write the objects of a table as people have decided on them to a file.

    `place` is WORK:TABLE, or WORK for the last table of its job. The ending of `to` says how rows are
    written, or `form` names a program, as in `export`. With the form `table`, `to` is the path or URL of a
    table layer, which jobs and `evaluate` read; with `annotations`, of an annotation layer for Neuroglancer,
    with class and status of each point. The columns are those of the table, with `class` as
    decided, and `status` (accepted, rejected, undecided, added), `decided_by`, `decided_at`, `note`, and
    `edit`, the number of an object's last edit.
    Objects that were deleted are left out, or with `deleted` have this status; those that were added stand at
    the end, and those that were moved have their new places. `edit` is the number of the last edit that
    counts, by default the last there is.

    >>> log = folder / "exported.sqlite"
    >>> with review(work.url, database=log) as page:
    ...     made = export_review(work.url, folder / "reviewed.csv", database=log)
    >>> made.rows == len(cells), made.edit
    (True, 0)
    """
    found, layer = ReviewPlace.find(place), full_url(str(to)) if form in LAYERS else ""
    opener = None if layer else opener_of(Path(to), form)
    if layer:
        refuse_taken_layer(layer, overwrite)
    else:
        refuse_existing(Path(to), overwrite)
    current, wanted = found.decided(database, edit)
    source = RowSource(found.name, found.info, reviewed_rows(found.info, current, deleted))
    rows = write_rows(source, Path(to), opener) if opener else write_layer(source, layer, form)
    return ExportedReview(Path(to), found.name, rows, wanted, layer)


def reviewed_rows(info: TableInfo, current: Current, deleted: bool = False) -> Iterator[pa.Table]:
    """The rows of a table with what is decided of them, the first piece without rows; those of `deleted`
    objects are among them or not."""
    schema: pa.Schema | None = None
    added = {id for id, held in current.items() if held.state.added and not held.state.deleted}
    for piece in table_rows(info):
        added -= {*piece["id"].to_pylist()}  # one that was deleted and added again has its row
        made = _decided(piece, info, current, deleted)
        schema = schema or made.schema
        yield made.cast(schema)
    if schema is not None and added:
        yield pa.Table.from_pylist([_added_row(id, current[id], info) for id in sorted(added)], schema)


def _decided(rows: pa.Table, info: TableInfo, current: Current, deleted: bool) -> pa.Table:
    ids = rows["id"].to_pylist()
    held = [current.get(id) for id in ids]
    kept = np.array([deleted or one is None or not one.state.deleted for one in held], bool)
    said = rows["class"].to_pylist() if "class" in rows.column_names else [None] * len(ids)
    columns: dict[str, list[Any]] = {name: [] for name in DECISIONS}
    for one, predicted in zip(held, said, strict=True):
        for name, value in _decision(one, predicted).items():
            columns[name].append(value)
    rows = _moved(rows, held, info)
    for name, values in columns.items():
        array = pa.array(values, DECISIONS[name])
        if name in rows.column_names:
            rows = rows.set_column(rows.column_names.index(name), name, array)
        else:
            rows = rows.append_column(name, array)
    return rows.filter(pa.array(kept))


def _decision(held: ReviewedObject | None, predicted: str | None) -> dict[str, str | int | None]:
    state = held.state if held else UNTOUCHED
    if held is None or state == UNTOUCHED:
        return {
            "class": predicted,
            "status": UNDECIDED,
            "decided_by": None,
            "decided_at": None,
            "note": None,
            "edit": held.seq if held else 0,
        }
    return {
        "class": state.of_class or predicted,
        "status": _status(state),
        "decided_by": held.person,
        "decided_at": held.at.isoformat(timespec="seconds"),
        "note": state.note or None,
        "edit": held.seq,
    }


def _status(state: ObjectState) -> str:
    if state.deleted:
        return DELETED
    return ADDED if state.added and state.status != REJECTED else state.status or UNDECIDED


def _moved(rows: pa.Table, held: list[ReviewedObject | None], info: TableInfo) -> pa.Table:
    """Rows with the places that people have moved objects to."""
    moved = {n: one.state.shape for n, one in enumerate(held) if one and one.state.shape is not None}
    if not moved:
        return rows
    for name, axis, scale in _place_columns(rows.schema, info):
        values = rows[name].to_numpy().copy()
        for number, shape in moved.items():
            values[number] = middle_of(shape)[axis] * scale
        rows = rows.set_column(
            rows.column_names.index(name), name, pa.array(values, rows.schema.field(name).type)
        )
    return rows


def _place_columns(schema: pa.Schema, info: TableInfo) -> list[tuple[str, int, float]]:
    """The columns of places: the name, the axis, and the size of a voxel in the column's unit."""
    named = [(name, axis, 1.0) for axis, name in enumerate(PLACES)]
    named += [(f"{name}_um", axis, info.voxel_size[axis] / 1000) for axis, name in enumerate(PLACES)]
    return [one for one in named if one[0] in schema.names]


def _added_row(id: int, held: ReviewedObject, info: TableInfo) -> dict[str, Any]:
    assert held.state.shape is not None
    place = middle_of(held.state.shape)
    row: dict[str, Any] = {"id": id}
    for axis, name in enumerate(PLACES):
        row |= {name: place[axis], f"{name}_um": place[axis] * info.voxel_size[axis] / 1000}
    return row | _decision(held, None)
