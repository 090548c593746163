"""Tables of objects: Parquet files of rows, read whole or a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from chunkflow.data.folder import Folder, side_by_side
from chunkflow.data.info import TableInfo
from chunkflow.errors import DamagedInput
from chunkflow.extras import optional_import
from chunkflow.geometry import Box
from chunkflow.words import html_table, text_table

if TYPE_CHECKING:
    import pandas

BATCH = 2**17
"""Rows of a table that are held at once where they are taken one by one."""
SHOWN_ROWS = 10


class Table:
    """A table of objects on a disk or in a bucket; in a notebook its first rows.

    >>> cells = work.table("objects")
    >>> len(cells) == len(cells.to_arrow())
    True
    >>> cells.columns[:7]
    ['id', 'x', 'y', 'z', 'x_um', 'y_um', 'z_um']
    """

    def __init__(self, info: TableInfo) -> None:
        self.info = info

    @property
    def url(self) -> str:
        return self.info.url

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in their order."""
        return list(next(self.pieces()).column_names)

    def __len__(self) -> int:
        """The number of rows, which the ends of the files say; they are asked once."""
        return self._rows

    @cached_property
    def _rows(self) -> int:
        grid = self.info.grid
        return sum(side_by_side(lambda index: _count(self.info, index), list(range(len(grid)))))

    def pieces(self) -> Iterator[pa.Table]:
        """The rows in pieces that fit in memory, in the order of the files; the first has none, and tells the
        columns.

        >>> sum(len(piece) for piece in cells.pieces()) == len(cells)
        True
        """
        return table_rows(self.info)

    def to_arrow(self) -> pa.Table:
        """All rows, in memory, as a table of pyarrow."""
        return pa.concat_tables(self.pieces()).combine_chunks()

    def to_pandas(self) -> pandas.DataFrame:
        """All rows, in memory, as a data frame of pandas.

        >>> float(cells.to_pandas().volume_um3.median()) > 100
        True
        """
        optional_import("pandas", f"Making a data frame of {self.name}")
        return self.to_arrow().to_pandas()

    def head(self, rows: int = SHOWN_ROWS) -> pa.Table:
        """The first rows."""
        found, count = [], 0
        for piece in self.pieces():
            found.append(piece.slice(0, rows - count))
            count += len(found[-1])
            if count == rows:
                break
        return pa.concat_tables(found)

    @cached_property
    def _shown(self) -> tuple[list[str], list[list[str]]]:
        """Names of columns and first rows, as text: a notebook asks for them twice."""
        first = self.head()
        return first.column_names, [[_short(value) for value in row.values()] for row in first.to_pylist()]

    @property
    def _title(self) -> str:
        return f"{self.name}: {len(self):,} rows"

    def __repr__(self) -> str:
        head, rows = self._shown
        return "\n".join([self._title, text_table(head, rows)])

    def _repr_html_(self) -> str:
        return f"<p>{self._title}</p>{html_table(*self._shown)}"


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _count(info: TableInfo, index: int) -> int:
    with _opened(info, index) as file:
        return int(file.metadata.num_rows)


def read_table(info: TableInfo, box: Box) -> pa.Table:
    """All rows of the files of a table whose cells meet `box`."""
    pieces = side_by_side(lambda index: read_file(info, index), list(info.grid.indexes_meeting(box)))
    return (
        pa.concat_tables(pieces, promote_options="default").combine_chunks()
        if pieces
        else pa.table({"id": pa.array([], pa.uint64())})
    )


def table_pieces(info: TableInfo, box: Box, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The same rows in pieces that fit in memory, of each file at least one, be it without rows; of some
    columns alone, or of all."""
    for index in info.grid.indexes_meeting(box):
        with _opened(info, index) as file:
            empty = file.schema_arrow.remove_metadata().empty_table()
            names = empty.column_names if columns is None else list(columns)
            yield empty.select(names)
            for batch in file.iter_batches(BATCH, columns=columns and names):
                yield pa.table(batch).select(names)


def table_rows(info: TableInfo) -> Iterator[pa.Table]:
    """The rows of a table in the order of its files; a first piece without rows tells the columns."""
    schema = empty = None
    for piece in table_pieces(info, info.bounds):
        if not len(piece):
            empty = piece
            continue
        if schema is None:
            schema = piece.schema
            yield schema.empty_table()
        if set(piece.column_names) != set(schema.names):
            raise DamagedInput(f"{info.url}: a file has other columns than those before it.")
        yield piece.select(schema.names).cast(schema)
    if schema is None and empty is not None:
        yield empty


def read_file(info: TableInfo, index: int) -> pa.Table:
    """All rows of one file of a table."""
    with _opened(info, index) as file:
        return file.read()


@contextmanager
def _opened(info: TableInfo, index: int) -> Iterator[pq.ParquetFile]:
    name = table_file(index)
    with Folder(info.url).opened(name) as data:
        if data is None:
            raise DamagedInput(f"The table {info.url} lacks its file {name}.")
        try:
            # else all that will be asked for is read ahead, and memory grows with the file
            yield pq.ParquetFile(data, pre_buffer=False, page_checksum_verification=True)
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # it is the disk's, and may pass; what Arrow finds wrong has no number
            raise DamagedInput(f"The file {info.url}/{name} of a table is damaged: {error}") from error


def table_file(index: int) -> str:
    """The name of a file of a table, in the table's folder."""
    return f"{index:06d}.parquet"


def table_writer(file: IO[bytes], schema: pa.Schema) -> pq.ParquetWriter:
    """The writer of a file of a table, whose pages carry checksums."""
    return pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)
