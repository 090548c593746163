"""What a cell made is written piece by piece: not all of it has to fit in memory a second time."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chunkflow.chunk import Chunk
from chunkflow.data.checksums import digest_of, digest_of_all
from chunkflow.data.folder import Folder
from chunkflow.data.info import ImageInfo
from chunkflow.data.owned import OwnedPlaces
from chunkflow.engine.planning.plan import Product
from chunkflow.engine.worker.inputs import Inputs
from chunkflow.engine.worker.results import Results, TableFile
from chunkflow.engine.worker.usage import Usage
from chunkflow.geometry import Box
from chunkflow.jobs.planned import open_plan
from tests.support.four_tasks import job_of

PIECES, ROWS = 24, 2**17


def test_a_table_in_the_making_takes_no_memory_of_its_size(tmp_path: Path) -> None:
    step = open_plan(job_of(tmp_path)).steps[2]
    ids = np.random.default_rng(1).integers(0, 2**63, (PIECES, ROWS), np.uint64)  # which do not compress
    pa.table({"id": ids[0]})  # what it imports is not counted
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


@pytest.mark.parametrize(("sharded", "copies"), [(False, 0.1), (True, 4.5 / 8)])
def test_the_files_of_a_chunk_are_encoded_one_by_one(tmp_path: Path, sharded: bool, copies: float) -> None:
    """Of a chunk of 64 files, or of 8 shards, each of which is copied as it is put together."""
    box, storage = Box((0, 0, 0), (128, 128, 128)), (8, 8, 8) if sharded else (32, 32, 32)
    url = f"file://{tmp_path}/layer"
    info = ImageInfo(
        url=url, volume=box, voxel_size=(1, 1, 1), dtype="float32", storage=storage, sharded=sharded
    )
    array = np.asfortranarray(np.random.default_rng(1).random(box.size, np.float32))
    results = Results(Inputs(open_plan(job_of(tmp_path))), OwnedPlaces())
    product, chunk, usage = Product("layer", 0, info, 0), Chunk(array, box, (1, 1, 1)), Usage()
    results.write_chunk(product, chunk, Usage())  # what is compiled as it is first called is not counted
    tracemalloc.start()
    try:
        results.write_chunk(product, chunk, usage)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < copies * array.nbytes
    written = {name: Folder(url).get(name) or b"" for name in Folder(url).list()}
    assert len(written) == (8 if sharded else 64)
    assert usage.digest == digest_of_all(digest_of(name, data) for name, data in written.items())
