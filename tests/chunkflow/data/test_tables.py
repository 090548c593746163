"""A table that is larger than what may be held is gone through in pieces; one that is damaged is told from a
disk that fails."""

from __future__ import annotations

import errno
import io
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chunkflow.data.info import TableInfo
from chunkflow.data.tables import read_table, table_pieces
from chunkflow.errors import DamagedInput, StorageError
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


class FailingFile(io.FileIO):
    """A file whose disk or server does not answer."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(self.number, os.strerror(self.number))

    number = 0


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_disk_that_cannot_be_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    info = _one_file(tmp_path)
    monkeypatch.setattr(FailingFile, "number", number)
    monkeypatch.setattr(Path, "open", lambda path, mode: FailingFile(path, mode))
    with pytest.raises(StorageError, match=r"could not read .*000000\.parquet"):
        read_table(info, info.bounds)


@pytest.mark.parametrize("at", [4, 10, -8])
def test_a_table_that_cannot_be_decoded_is_damaged(tmp_path: Path, at: int) -> None:
    """The begin of a page, its rows, or the length of the footer are not what they were."""
    info = _one_file(tmp_path)
    file = tmp_path / "000000.parquet"
    data = bytearray(file.read_bytes())
    data[at] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(DamagedInput, match=r"000000\.parquet of a table is damaged"):
        read_table(info, info.bounds)


def _one_file(folder: Path) -> TableInfo:
    pq.write_table(pa.table({"id": pa.array([1, 2, 3], pa.uint64())}), folder / "000000.parquet")
    box = Box((0, 0, 0), (8, 8, 8))
    return TableInfo(url=f"file://{folder}", volume=box, voxel_size=(1, 1, 1))
