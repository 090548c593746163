"""What a file of points or rows is, whatever its format: columns, and pieces that can be read again.

1. A format's module opens a file as `Rows`: its columns are known, its pieces are read when asked for.
2. Formats that write all as text (CSV, JSON) are read twice: first to learn what every column can be, then
   for the values. So a column is what all of its values are, not what the first thousand look like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.errors import BadInput

BATCH = 2**16
"""Rows that are held at once."""
KINDS = {"int64": pa.int64(), "uint64": pa.uint64(), "double": pa.float64(), "bool": pa.bool_()}
"""What text may be besides text, in the order of preference."""


@dataclass(frozen=True)
class Rows:
    """A file that was recognised."""

    path: Path
    schema: pa.Schema
    pieces: Callable[[], Iterator[pa.Table]]
    """The rows in the order of the file, with this schema; may be called again."""
    unit: str = ""
    """Of x, y, z, where the format tells."""
    centred: bool = False
    """A place of 0 is the middle of the first voxel, not its corner."""
    word: str = "row"
    first: int = 1
    """What a row is called, and the number of the first."""

    def name_of(self, row: int) -> str:
        """How a person finds a row of the file."""
        return f"{self.path}, {self.word} {self.first + row}"

    def renamed(self, names: Sequence[str]) -> Rows:
        """The same with these names for its columns, in their order."""
        own = self.schema.names
        if len(names) != len(own):
            raise BadInput(
                f"{self.path} has {len(own)} columns ({', '.join(own)}), but columns names {len(names)}: "
                "name each, in the order of the file."
            )
        check_names(self.path, names)

        def pieces() -> Iterator[pa.Table]:
            for piece in self.pieces():
                yield piece.rename_columns(list(names))

        fields = [column.with_name(name) for column, name in zip(self.schema, names, strict=True)]
        return Rows(self.path, pa.schema(fields), pieces, self.unit, self.centred, self.word, self.first)


@dataclass
class Guess:
    """What a column of text can still be, after the values that were seen."""

    kinds: list[str] = field(default_factory=lambda: list(KINDS))
    seen: bool = False

    def look(self, values: pa.ChunkedArray) -> None:
        """Strike out what these texts are not."""
        if values.null_count == len(values):
            return
        self.seen = True
        self.kinds = [name for name in self.kinds if _fits(values, KINDS[name])]

    @property
    def type(self) -> pa.DataType:
        """Numbers, where nothing was seen."""
        if not self.seen:
            return pa.float64()
        return KINDS[self.kinds[0]] if self.kinds else pa.string()


def _fits(values: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def guessed(pieces: Iterator[pa.Table], names: Sequence[str], text: Sequence[str] = ()) -> pa.Schema:
    """What columns of text are, the whole file seen; those of `text` are text."""
    guesses = {name: Guess([] if name in text else list(KINDS)) for name in names}
    for piece in pieces:
        for name, guess in guesses.items():
            if guess.kinds:
                guess.look(piece[name])
    return pa.schema([(name, pa.string() if name in text else guess.type) for name, guess in guesses.items()])


def check_names(path: Path, names: Sequence[str]) -> None:
    """Raise BadInput where two columns have one name, or one has none."""
    for number, name in enumerate(names):
        if not name:
            raise BadInput(f"{path}: column {number + 1} has no name.")
        if name in names[:number]:
            raise BadInput(f"{path} has two columns named {name}: rename one of them.")


def first_not(values: pa.ChunkedArray, kind: pa.DataType) -> int | None:
    """The first row whose text is not of this kind."""
    for row, value in enumerate(values):
        if value.is_valid and not _fits(pa.chunked_array([[value.as_py()]]), kind):
            return row
    return None


def with_types(piece: pa.Table, schema: pa.Schema) -> pa.Table:
    """A piece with the columns and types of `schema`; one that it lacks is empty."""
    columns = []
    for column in schema:
        if column.name in piece.column_names:
            columns.append(pc.cast(piece[column.name], column.type))
        else:
            columns.append(pa.nulls(len(piece), column.type))
    return pa.table(columns, schema=schema)
