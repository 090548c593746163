"""The demo's whole job with every layer, table, mesh, point and the ledger on S3: as on a disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cloudvolume import CloudVolume

from chunkflow.job import Job
from chunkflow.storage import Folder
from cli.builtin import task_type
from cli.demo import document
from tests.servers import s3_bucket
from tests.support import run_job


def demo_job(root: str) -> Job:
    written: dict[str, Any] = document(Path("/demo"), (96, 96, 64), 3)
    written["chunk"] = [64, 64, 64]
    written["work"] = f"{root}/work"
    written["layers"] = {name: f"{root}/{name}" for name in written["layers"]}
    return Job.from_document(written, task_type, Path("/"))


def files(root: str, skip: tuple[str, ...]) -> dict[str, bytes]:
    """Every file below a folder, save those that tell when and by whom."""
    folder = Folder(root)
    names = [n for n in folder.list() if not any(word in n for word in skip)]
    return {name: folder.get(name) or b"" for name in names}


def test_the_whole_job_on_s3_equals_the_one_on_a_disk(tmp_path: Path) -> None:
    here = f"file://{tmp_path}"
    assert run_job(demo_job(here)) == "complete"
    with s3_bucket("brains") as there:
        assert run_job(demo_job(there)) == "complete"
        for name in ("dapi", "cfos", "nuclei"):
            for mip in range(CloudVolume(f"{here}/{name}", progress=False).available_mips[-1] + 1):
                a, b = (CloudVolume(f"{r}/{name}", mip=mip, progress=False)[:] for r in (here, there))
                np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        meshes = [files(f"{root}/nuclei/mesh", ()) for root in (here, there)]
        assert meshes[0] == meshes[1] != {}
        points = [files(f"{root}/centres", ()) for root in (here, there)]
        assert points[0] == points[1] != {}
        for table in ("objects", "truth"):
            urls = [f"{root}/work/tables/{table}" for root in (here, there)]
            data = [Folder(url).get("000000.parquet") or b"" for url in urls]
            first, second = (pq.read_table(_reader(d)) for d in data)
            assert first.equals(second)
            assert len(first)
        assert run_job(demo_job(there)) == "complete"  # the ledger is read back: nothing is left to do


def _reader(data: bytes) -> Any:
    return pa.BufferReader(data)
