"""Text in columns: CSV and TSV, with names in the first line or without, and the points of napari."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from chunkflow.errors import BadInput
from chunkflow.formats.points.rows import Rows, check_names, guessed, with_types

DELIMITERS = ",\t;"
NAPARI = re.compile(r"axis-\d+")
LOOKED_AT = 2**16
BLOCK = 2**22


def open_text(path: Path, columns: Sequence[str]) -> Rows:
    """A file of text; `columns` names its columns where its first line does not."""
    head = _head(path)
    delimiter = max(DELIMITERS, key=lambda mark: head.partition("\n")[0].count(mark))
    first = next((row for row in csv.reader(io.StringIO(head), delimiter=delimiter) if row), [])
    has_names = not all(_is_number(cell) for cell in first)
    names = _names(path, first, has_names, columns)
    skip = head[: len(head) - len(head.lstrip("\r\n"))].count("\n") + has_names
    check_names(path, names)

    def texts() -> Iterator[pa.Table]:
        return _texts(path, names, delimiter, skip)

    text = _quoted(head, names, delimiter, has_names) + [name for name in names if name.lower() == "class"]
    schema = guessed(texts(), names, text)

    def pieces() -> Iterator[pa.Table]:
        for piece in texts():
            yield with_types(piece, schema)

    rows = Rows(path, schema, pieces, word="line", first=1 + skip)
    return _of_napari(rows) if {"axis-0", "axis-1"} <= set(names) else rows


def _head(path: Path) -> str:
    """The begin of the file, up to the end of a line."""
    with path.open("rb") as file:
        begin = file.read(LOOKED_AT)
        begin += file.readline() if len(begin) == LOOKED_AT else b""
    try:
        return begin.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(
            f"{path} is neither text in UTF-8 nor of a format that is known: CSV, JSON, HDF5, Parquet, XML."
        ) from None


def _names(path: Path, first: Sequence[str], has_names: bool, columns: Sequence[str]) -> list[str]:
    if has_names:
        return [cell.strip() or f"column_{number}" for number, cell in enumerate(first, 1)]
    named = list(columns)
    if len(named) != len(first):
        said = f"but columns names {len(named)}" if named else "and no line that names them"
        raise BadInput(
            f"{path} has {len(first)} columns {said}: name each in its order and say their unit, as in "
            "columns z,y,x (or z_um,y_um,x_um)."
        )
    return named


def _is_number(cell: str) -> bool:
    try:
        float(cell or 0)
    except ValueError:
        return False
    return True


def _quoted(head: str, names: Sequence[str], delimiter: str, has_names: bool) -> list[str]:
    """The columns whose values stand in quotes, which numbers do not, unless all do."""
    cell = re.compile(rf'("(?:[^"]|"")*"|[^"{delimiter}\r\n]*)({re.escape(delimiter)}|\r?\n|$)')
    found, column, line, place = set(), 0, 0, 0
    while place < len(head) and (match := cell.match(head, place)):
        place = match.end()
        if match[1].startswith('"') and line >= has_names:
            found.add(column)
        column = column + 1 if match[2] == delimiter else 0
        line += column == 0
    if len(found) == len(names) > 1:
        return []
    return [name for number, name in enumerate(names) if number in found]


def _texts(path: Path, names: Sequence[str], delimiter: str, skip: int) -> Iterator[pa.Table]:
    """The rows, every column as text."""
    try:
        reader = pyarrow.csv.open_csv(
            path,
            pyarrow.csv.ReadOptions(column_names=list(names), skip_rows=skip, block_size=BLOCK),
            pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield pa.table(batch)
    except pa.ArrowInvalid as error:
        if str(error).startswith("Empty CSV file"):
            return
        raise BadInput(_said_wrong(path, len(names), delimiter, error)) from None


def _said_wrong(path: Path, columns: int, delimiter: str, error: Exception) -> str:
    """Which line has too many or too few columns, where that is what is wrong."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = csv.reader(file, delimiter=delimiter)
        for row in lines:
            if row and len(row) != columns:
                return f"{path}, line {lines.line_num}, has {len(row)} columns; the first has {columns}."
    return f"{path} cannot be read as columns of text: {error}"


def _of_napari(rows: Rows) -> Rows:
    """Points as napari writes them: its axes are z, y, x; its first voxel's middle is 0."""
    names = rows.schema.names
    axes = sorted(name for name in names if NAPARI.fullmatch(name))
    if axes != ["axis-0", "axis-1", "axis-2"]:
        raise BadInput(f"{rows.path} has napari's points of {len(axes)} axes; three (z, y, x) are needed.")
    of_axis = dict(zip(axes, "zyx", strict=True))
    renamed = rows.renamed([of_axis.get(name, name) for name in names])
    kept = [name for name in renamed.schema.names if name != "index"]
    schema = pa.schema([renamed.schema.field(name) for name in kept])

    def pieces() -> Iterator[pa.Table]:
        for piece in renamed.pieces():
            yield piece.select(kept)

    return Rows(rows.path, schema, pieces, "", True, rows.word, rows.first)
