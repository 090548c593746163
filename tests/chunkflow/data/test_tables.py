"""A table that is larger than what may be held is gone through in pieces."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chunkflow.data.info import TableInfo
from chunkflow.data.tables import table_pieces
from chunkflow.geometry import Box

ROWS, GROUP = 4_000_000, 100_000


def test_memory_does_not_grow_with_the_rows_of_a_file(tmp_path: Path) -> None:
    """By what Arrow and Python have taken: of a file of 60 MB no more than a few pieces."""
    random = np.random.default_rng(0)
    with pq.ParquetWriter(
        tmp_path / "000000.parquet", pa.schema([("id", pa.uint64()), ("x", pa.float64())])
    ) as file:
        for start in range(0, ROWS, GROUP):
            ids = np.arange(start + 1, start + GROUP + 1, dtype=np.uint64)
            file.write_table(pa.table({"id": ids, "x": random.random(GROUP)}))
    assert (tmp_path / "000000.parquet").stat().st_size > 40e6
    box = Box.of_size((100, 100, 100))
    info = TableInfo(url=f"file://{tmp_path}", volume=box, voxel_size=(1.0, 1.0, 1.0))
    before, most, count = pa.total_allocated_bytes(), 0, 0
    tracemalloc.start()
    for rows in table_pieces(info, box):
        count += len(rows)
        most = max(most, pa.total_allocated_bytes() - before + tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert count == ROWS
    assert most < 15e6
