"""Rows of a table written to one file, a batch at a time, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.data.atomic import written_whole
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.formats.export.point_files import CellfinderWriter, NapariWriter, NeuroglancerWriter
from chunkflow.formats.export.row_files import CsvWriter, Hdf5Writer, JsonWriter, RowWriter, parquet_writer

Open = Callable[[Path, pa.Schema, LayerInfo], RowWriter]
FORMATS: dict[str, tuple[str, Open]] = {
    "csv": (".csv", lambda path, schema, _: CsvWriter(path, schema)),
    "parquet": (".parquet", lambda path, schema, _: parquet_writer(path, schema)),
    "json": (".json", lambda path, schema, _: JsonWriter(path, schema)),
    "h5": (".h5", lambda path, schema, _: Hdf5Writer(path, schema)),
    "napari": (".csv", NapariWriter),
    "cellfinder": (".xml", CellfinderWriter),
    "neuroglancer": (".json", NeuroglancerWriter),
}
"""The ending of each format's files, the first format of an ending being meant by it alone."""
Value = str | int | float | bool | np.bool_
"""A value that the rows to be exported have in a column."""


@dataclass(frozen=True)
class RowSource:
    """Rows to be exported, and the space that they lie in."""

    name: str
    info: LayerInfo
    pieces: Iterator[pa.Table]
    """The first without rows: it tells the columns."""


def opener_of(to: Path, form: str) -> Open:
    """Opens a file of a format, which is chosen by name, else by the file's ending."""
    endings = [ending for ending, _ in FORMATS.values()]
    named = form or next((name for name, (ending, _) in FORMATS.items() if ending == to.suffix.lower()), "")
    if form and form not in FORMATS:
        raise BadInput(f"There is no format {form}: it must be one of {', '.join(FORMATS)}.")
    if not named:
        raise BadInput(
            f"{to} must end in {', '.join(dict.fromkeys(endings))}: the ending says what is written."
        )
    ending, opener = FORMATS[named]
    if to.suffix.lower() != ending:
        raise BadInput(f"{to} must end in {ending}, as files of {named} do.")
    return opener


def chosen(source: RowSource, where: Mapping[str, Value], columns: Sequence[str]) -> RowSource:
    """The rows that have the values of `where`, with these columns; empty ones choose all."""
    first = next(source.pieces)
    names = list(columns) or first.column_names
    for name in (*where, *names):
        if name not in first.column_names:
            known = ", ".join(first.column_names)
            raise BadInput(f"{source.name} has no column {name!r}; it has {known}.")

    def pieces() -> Iterator[pa.Table]:
        for piece in chain([first], source.pieces):
            rows = piece
            for column, value in where.items():
                rows = rows.filter(pc.equal(pc.cast(rows[column], pa.string()), _text(value)))
            yield rows.select(names)

    return RowSource(source.name, source.info, pieces())


def _text(value: Value) -> str:
    """A value as Arrow writes those of columns, so that 1, 1.0 and "1" mean the same."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return str(pc.cast(pa.scalar(value), pa.string()).as_py()) if isinstance(value, float) else str(value)


def write_rows(source: RowSource, to: Path, opener: Open) -> int:
    """Write all rows to one file, which is there whole or not at all; how many they are."""
    first = next(source.pieces)
    count = 0
    try:
        with written_whole(to) as temporary, closing(opener(temporary, first.schema, source.info)) as writer:
            for piece in chain([first], source.pieces):
                writer.write(piece)
                count += len(piece)
    except OSError as error:
        raise BadInput(f"{to} cannot be written: {error.strerror or error}.") from None
    return count
