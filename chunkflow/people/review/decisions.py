"""Decisions of people in a file that `export_review` wrote, for tasks: their workers cannot open the log.

Objects are known by their ids. Of a row that people decided on the class is theirs, whatever a model says of
it; a row that the file lacks, or has as undecided, stays as it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.data.fingerprints import fingerprint
from chunkflow.data.info import TableInfo
from chunkflow.data.tables import table_pieces
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.formats.points.files import open_points, point_pieces
from chunkflow.people.review.labels import REJECTED

ACCEPTED, ADDED, DELETED, UNDECIDED = "accepted", "added", "deleted", "undecided"
STATUSES = (UNDECIDED, ACCEPTED, REJECTED, ADDED, DELETED)
"""What the column `status` of an exported review says."""
NEEDED = ("id", "class", "status")
Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Decisions:
    """What people decided, by rising id."""

    path: str
    fingerprint: str
    ids: npt.NDArray[np.uint64]
    statuses: Texts
    classes: Texts
    """Of an object that was rejected or deleted it means nothing."""

    @classmethod
    def read(cls, path: str, info: TableInfo) -> Decisions:
        """The decisions in a file on objects of a table; a process reads a file once while it is the same."""
        try:
            found = os.stat(path)
        except OSError as error:
            raise BadInput(
                f"The reviewed file {path} cannot be read: {error.strerror or error}; "
                "`chunkflow review export` makes one."
            ) from None
        return _read(path, (found.st_mtime_ns, found.st_size), info)

    def refuse_other_table(self, info: TableInfo, name: str) -> None:
        """Raise BadInput where a table has rows, none of which is in the file. A table that is not whole, as
        it is being made, may be any."""
        count = 0
        try:
            for piece in table_pieces(info, info.bounds):
                if len(piece) and self._find(piece["id"].to_numpy())[1].any():
                    return
                count += len(piece)
        except DamagedInput:
            return
        if count:
            raise BadInput(
                f"{self.path} has none of the {count:,} objects of the table {name}: export the review of "
                "this table, or of one with the same objects."
            )

    def apply(self, rows: pa.Table) -> tuple[pa.Table, int]:
        """Rows with a class and a probability, as people decided: those deleted left out, a column `status`
        more; and how many of them people decided on."""
        at, found = self._find(rows["id"].to_numpy())
        status = np.full(len(rows), UNDECIDED, dtype=object)
        status[found] = self.statuses[at[found]]
        names = np.full(len(rows), "", dtype=object)
        names[found] = self.classes[at[found]]
        names[names == ""] = ACCEPTED
        names[status == REJECTED] = REJECTED
        decided = pa.array(found & (status != UNDECIDED) & (status != DELETED))
        columns = {
            "class": pc.if_else(decided, pa.array(names, pa.string()), rows["class"]),
            "probability": pc.if_else(decided, pa.scalar(1.0, pa.float32()), rows["probability"]),
        }
        for name, values in columns.items():
            rows = rows.set_column(rows.column_names.index(name), name, values)
        if "status" in rows.column_names:
            rows = rows.drop_columns(["status"])
        rows = rows.append_column("status", pa.array(status, pa.string()))
        return rows.filter(pa.array(status != DELETED)), int(pc.sum(decided).as_py() or 0)

    def _find(self, ids: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Where these ids would stand among those of the file, and which of them do."""
        at = np.searchsorted(self.ids, ids)
        found = np.zeros(len(ids), bool)
        within = at < len(self.ids)
        found[within] = self.ids[at[within]] == ids[within]
        return at, found


@lru_cache(2)
def _read(path: str, state: tuple[int, int], info: TableInfo) -> Decisions:
    rows = open_points(Path(path), info)
    lacking = [name for name in NEEDED if name not in rows.schema.names]
    if lacking:
        raise BadInput(
            f"{path} has no column {lacking[0]}; reviewed takes a file that `chunkflow review export` wrote "
            "as .csv, .parquet, .json or .h5."
        )
    table = pa.concat_tables([piece.select(NEEDED) for piece in point_pieces(rows, info)]).sort_by("id")
    ids = table["id"].to_numpy().astype(np.uint64)
    again = np.flatnonzero(ids[1:] == ids[:-1])
    if len(again):
        raise BadInput(f"{path} has the object {ids[again[0]]} more than once: keep one row of each.")
    statuses = _texts(table["status"])
    statuses[statuses == ""] = UNDECIDED
    strange = sorted({*statuses.tolist()} - {*STATUSES})
    if strange:
        raise BadInput(f"{path} has the status {strange[0]!r}: it must be one of {', '.join(STATUSES)}.")
    return Decisions(path, fingerprint([path]), ids, statuses, _texts(table["class"]))


def _texts(column: pa.ChunkedArray) -> Texts:
    values = pc.utf8_trim_whitespace(pc.fill_null(pc.cast(column, pa.string()), ""))
    return np.array(values.to_pylist(), dtype=object)
