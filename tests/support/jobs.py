"""What tests share: making layers, running jobs in this process, and reading back what they made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cloudvolume import CloudVolume

from chunkflow.data.describe import describe
from chunkflow.data.info import full_url
from chunkflow.engine.ledger.record import JobRecord
from chunkflow.engine.planning.job import Job, TaskEntry
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.planning.spec import PlanSpec
from chunkflow.engine.pool.executor import Executor
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.pool.serial import SerialExecutor
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.run.events import Event
from chunkflow.engine.run.opening import open_run
from chunkflow.engine.run.runner import Runner
from chunkflow.geometry import Box
from chunkflow.jobs.planned import open_plan


def hide_package(patch: pytest.MonkeyPatch, name: str) -> None:
    """Let a package be as one that is not installed, until the end of the test."""
    loaded = [module for module in sys.modules if module.startswith(f"{name}.")]
    for module in (name, *loaded):
        patch.setitem(sys.modules, module, None)


def make_layer(
    path: Path,
    array: np.ndarray,
    kind: str = "image",
    voxel_size: Sequence[float] = (1000, 1000, 2000),
    offset: Sequence[int] = (0, 0, 0),
    chunk: Sequence[int] = (32, 32, 32),
) -> str:
    """A precomputed layer on disk holding `array` (x, y, z[, channel])."""
    CloudVolume.from_numpy(
        array,
        f"file://{path}",
        resolution=list(voxel_size),
        voxel_offset=list(offset),
        chunk_size=list(chunk),
        layer_type=kind,
        compress=False,
        progress=False,
    )
    return str(path)


def read_layer(url: str | Path, mip: int = 0) -> np.ndarray:
    """All voxels of a layer; a missing storage chunk raises."""
    volume = CloudVolume(full_url(str(url)), mip=mip, progress=False)
    array = np.asarray(volume[:])
    return array[..., 0] if array.shape[3] == 1 else array


def read_table(url: str | Path) -> pa.Table:
    """All rows of a table, sorted by id."""
    files = sorted(Path(str(url).removeprefix("file://")).glob("*.parquet"))
    assert files, f"no table at {url}"
    rows = pa.concat_tables([pq.read_table(file) for file in files], promote_options="default")
    return rows.sort_by("id")


def make_job(folder: Path, layers: dict[str, str], tasks: list[Any], **keys: Any) -> Job:
    document = {"job": "test", "work": str(folder / "work"), "layers": layers, "tasks": tasks, **keys}
    return Job.from_document(document, folder)


def job_record(name: str, spec: dict[str, Any]) -> JobRecord:
    """What a ledger may hold of a job."""
    job = Job(name=name, work="file:///work", tasks=[TaskEntry(name="segment", type="segment")])
    return JobRecord(spec=spec, plan=PlanSpec(job=job, box=None, chunk=(64, 64, 64), layers=[]), grids={})


def run_job(
    job: Job,
    box: Box | None = None,
    executor: Callable[[Plan], Executor] = SerialExecutor,
    workers: int = 1,
    restart: str = "",
    listeners: Sequence[Callable[[Event], None]] = (),
    backoff: float = 0.01,
    patience: float = 600.0,
) -> str:
    """Run a job to its end in this process, and say how it ended."""
    plan = open_plan(job, box)
    queue = MemoryQueue(len(plan.worker_kinds))
    with open_run(plan, {}, restart) as ledger:
        pool = Pool(queue, executor(plan), [workers] * len(plan.worker_kinds), patience)
        return Runner(plan, ledger, queue, pool, listeners, backoff).run()


@contextmanager
def ended_after(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed if it has not ended by itself."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


__all__ = ["describe", "ended_after", "make_job", "make_layer", "read_layer", "read_table", "run_job"]
