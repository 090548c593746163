"""A table is written piece by piece: what it holds does not have to fit in memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chunkflow.data.folder import Folder
from chunkflow.engine.worker.results import TableFile
from chunkflow.jobs.planned import open_plan
from tests.support.four_tasks import job_of

PIECES, ROWS = 24, 2**17


def test_a_table_in_the_making_takes_no_memory_of_its_size(tmp_path: Path) -> None:
    step = open_plan(job_of(tmp_path)).steps[2]
    ids = np.random.default_rng(1).integers(0, 2**63, (PIECES, ROWS), np.uint64)  # which do not compress
    tracemalloc.start()
    try:
        with TableFile() as table:
            for piece in ids:
                table.add(pa.table({"id": piece}))
            Folder(str(tmp_path)).put("table.parquet", table.end(step))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < ids.nbytes / 4
    np.testing.assert_array_equal(pq.read_table(tmp_path / "table.parquet")["id"].to_numpy(), ids.ravel())
