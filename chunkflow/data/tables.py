"""Reading of tables: Parquet files of rows, whole or a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from chunkflow.data.folder import Folder, side_by_side
from chunkflow.data.info import TableInfo
from chunkflow.errors import DamagedInput
from chunkflow.geometry import Box

BATCH = 2**17
"""Rows of a table that are held at once where they are taken one by one."""


def read_table(info: TableInfo, box: Box) -> pa.Table:
    """All rows of the files of a table whose cells meet `box`."""
    pieces = side_by_side(lambda index: _read_file(info, index), list(info.grid.indexes_meeting(box)))
    return (
        pa.concat_tables(pieces, promote_options="default").combine_chunks()
        if pieces
        else pa.table({"id": pa.array([], pa.uint64())})
    )


def table_pieces(info: TableInfo, box: Box) -> Iterator[pa.Table]:
    """The same rows in pieces that fit in memory, of each file at least one, be it without rows."""
    for index in info.grid.indexes_meeting(box):
        with _opened(info, index) as file:
            yield file.schema_arrow.remove_metadata().empty_table()
            for batch in file.iter_batches(BATCH):
                yield pa.table(batch)


def _read_file(info: TableInfo, index: int) -> pa.Table:
    with _opened(info, index) as file:
        return file.read()


@contextmanager
def _opened(info: TableInfo, index: int) -> Iterator[pq.ParquetFile]:
    with Folder(info.url).opened(f"{index:06d}.parquet") as data:
        if data is None:
            raise DamagedInput(f"The table {info.url} lacks its file {index:06d}.parquet.")
        # else all that will be asked for is read ahead, and memory grows with the file
        yield pq.ParquetFile(data, pre_buffer=False)
