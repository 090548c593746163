"""Ingest: a job makes the layer slab by slab, and a damaged stack is named before a voxel is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from chunkflow.data.describe import layer_at
from chunkflow.engine.planning.job import Job
from chunkflow.task import Layout
from tasks.volumes.ingest import Ingest
from tests.support.files.stack_files import SIZE, ZYX, stacks, whole, write_planes
from tests.support.jobs import make_job, read_layer, run_job


def test_memory_is_bounded_by_slabs_of_whole_planes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkflow.formats.stacks.slabs.SLAB_BYTES", 3000)
    monkeypatch.setattr("chunkflow.formats.stacks.slabs.SLAB_CHUNKS", 1)
    task = Ingest(source=str(stacks(tmp_path)["packed"]), voxel_size=SIZE, layer="image")
    assert np.array_equal(whole(task), ZYX.T)
    layout = Layout({}, (8, 16, 8), (4, 8, 4))
    info = task.outputs(layout)["layer"]
    grid = task.grid(Layout({"layer": (info,)}, layout.chunk, layout.storage), info.bounds)
    assert grid.cell == (20, 16, 4)


def test_a_source_in_a_bucket_is_refused_and_a_path_is_made_absolute() -> None:
    with pytest.raises(ValidationError, match="must be a path"):
        Ingest(source="s3://lab/stack.tif", voxel_size=SIZE, layer="image")
    assert Ingest(source="stack.tif", voxel_size=SIZE, layer="image").source == str(Path.cwd() / "stack.tif")


def ingest_job(folder: Path, source: Path, **fields: object) -> Job:
    task = {"ingest": {"source": str(source), "voxel_size": SIZE, "layer": "image", **fields}}
    layers = {"image": str(folder / "image")}
    return make_job(folder, layers, [task], storage=[8, 8, 4], chunk=[16, 8, 4])


@pytest.mark.parametrize("kind", ["plain", "packed", "planes"])
def test_a_job_makes_the_layer(tmp_path: Path, kind: str) -> None:
    job = ingest_job(tmp_path, stacks(tmp_path)[kind])
    assert run_job(job) == "complete"
    assert np.array_equal(read_layer(tmp_path / "image"), ZYX.T)
    info = layer_at(f"file://{tmp_path}/image")
    assert info.voxel_size == (500, 500, 2000)
    assert info.storage == (8, 8, 4)


def test_a_job_on_a_damaged_stack_writes_no_voxel(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "planes", ZYX)
    (folder / "plane_4.tif").write_bytes(b"II")
    assert run_job(ingest_job(tmp_path, folder)) == "incomplete"
    assert not list((tmp_path / "image").glob("5*/*"))
