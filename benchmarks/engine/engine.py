"""What the engine itself costs: scheduling, handing out over Ray with the ledger on, planning and resuming a
million chunks, and the overhead and memory of the whole job."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import ray
from rich.console import Console

from benchmarks.figure import Figure
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.forecast import usual_memory
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.planning.stages import Stage, wait_for, wait_for_offset
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.pool.serial import SerialExecutor
from chunkflow.engine.queue.cells import Answer
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.queue.schedule import DONE, Schedule
from chunkflow.engine.run.events import CellDone, Event
from chunkflow.engine.run.opening import open_run
from chunkflow.engine.run.runner import Runner
from chunkflow.geometry import Box, Grid, Vec
from chunkflow.jobs.planned import open_plan
from cli.demo.nuclei import document
from cluster.workers.connection import start_here
from cluster.workers.executor import RayExecutor
from testbed.simulated import layer_without_voxels

WORKERS = 2
WHOLE_SIZE = (512, 512, 256)
SYNC_SIZE, SYNC_TURNS = (256, 256, 128), 5


def run() -> list[Figure]:
    with _scratch() as folder:
        return [
            *scheduling(),
            *a_million_chunks(folder),
            *empty_chunks(folder),
            *whole_job(folder),
            *durability(folder),
        ]


@contextmanager
def _scratch() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="chunkflow-bench-"))
    try:
        yield place
    finally:
        shutil.rmtree(place)


def _rss() -> float:
    return float(psutil.Process().memory_info().rss)


def scheduling() -> list[Figure]:
    """A million chunks, each waiting for its neighbours in a first task and for the section before."""
    before, begin = _rss(), time.perf_counter()
    grid = Grid.chunks(Box.of_size((6400, 6400, 6400)), (64, 64, 64))
    near = wait_for(grid, 0, grid, lambda box: box.grow((1, 1, 1)))
    stages = [
        Stage(0, "first", "map", 0, grid),
        Stage(1, "second", "map", 0, grid, (near, wait_for_offset(grid, 1, (0, 0, -1)))),
    ]
    schedule = Schedule(stages)
    schedule.begin()
    done = 0
    while taken := schedule.take(1000):
        for part in taken:
            for cell in range(part.start, part.stop):
                schedule.done(part.stage, cell)
                done += 1
    assert schedule.complete
    rate = done / (time.perf_counter() - begin)
    return [
        Figure("scheduler: dependent chunks", rate, "/s", target=5000),
        Figure(
            "scheduler: memory for 2×10⁶ chunks", (_rss() - before) / 1e6, "MB", better="lower", target=200
        ),
    ]


def _job(folder: Path, name: str, size: Vec) -> Job:
    """A job of a task that does nothing over a layer without voxels."""
    image = layer_without_voxels(folder, size)
    return Job.from_document(
        {
            "job": name,
            "work": str(folder / name),
            "chunk": [64, 64, 64],
            "layers": {"none": image},
            "tasks": [{"testbed.engine_tasks:Nothing": {"image": "none"}}],
        },
        folder,
    )


def a_million_chunks(folder: Path) -> list[Figure]:
    """Plan a job of a million chunks, of which nearly all are done, and find out what is left."""
    job = _job(folder, "million", (6400, 6400, 6400))
    plan = open_plan(job)
    with open_run(plan, {}) as ledger:
        for index in range(10**6 - 10):
            ledger.record_done("Nothing", Answer(0, index, "w"))
            if index % 50_000 == 0:
                ledger.flush(now=True)
    before, begin = _rss(), time.perf_counter()
    plan = open_plan(job)
    ledger = Ledger.load(Folder(plan.work))
    schedule = Schedule(plan.stages)
    steps = [ledger.stages[stage.name] for stage in plan.stages]
    schedule.resume([step.states == 1 for step in steps], [step.empties for step in steps])
    took = time.perf_counter() - begin
    assert int(schedule.counts[:, DONE].sum()) == 10**6 - 10
    return [
        Figure("10⁶ chunks: plan and resume", took, "s", better="lower", target=5),
        Figure("10⁶ chunks: the driver grows by", (_rss() - before) / 1e6, "MB", better="lower", target=100),
    ]


def empty_chunks(folder: Path) -> list[Figure]:
    """Chunks that do nothing, over Ray, with the ledger on."""
    plan = open_plan(_job(folder, "empty", (1600, 1600, 2048)))
    took, status = _on_ray(plan, [])
    assert status == "complete"
    return [Figure("empty chunks over Ray, ledger on", len(plan.steps[0].grid) / took, "/s", target=1000)]


def whole_job(folder: Path) -> list[Figure]:
    """The demo's job on two workers: the wall clock beside the time spent in map, and the memory."""
    written: dict[str, Any] = document(folder / "whole", WHOLE_SIZE, 1)
    job = Job.from_document(written, folder)
    plan = open_plan(job)
    mapped, peaks = [0.0], [0]

    def listen(event: Event) -> None:
        if isinstance(event, CellDone):
            mapped[0] += event.answer.seconds[1]
            peaks[0] = max(peaks[0], event.answer.peak_bytes)

    wall, status = _on_ray(plan, [listen])
    assert status == "complete"
    predicted = usual_memory(plan)
    return [
        Figure(
            "whole job, 2 workers: wall clock / (map seconds / workers)",
            wall / (mapped[0] / WORKERS),
            "",
            better="lower",
            target=1.25,
        ),
        Figure("whole job: wall clock", wall, "s", better="lower"),
        Figure(
            "memory of a worker: |peak / predicted - 1|",
            abs(peaks[0] / predicted - 1),
            f"(peak {peaks[0] / 2**30:.2f} GiB)",
            better="lower",
            target=0.2,
        ),
    ]


def durability(folder: Path) -> list[Figure]:
    """The demo's job in this process with all it writes put onto the disk, and without, in turns."""
    took: dict[str, list[float]] = {"durable": [], "not": []}
    for turn in range(SYNC_TURNS):
        for kind, seconds in took.items():
            place = folder / f"{kind}{turn}"
            plan = open_plan(Job.from_document(document(place, SYNC_SIZE, 1), folder))
            syncs = nullcontext() if kind == "durable" else mock.patch("os.fsync", return_value=None)
            queue = MemoryQueue(len(plan.worker_kinds))
            with syncs, open_run(plan, {}) as ledger:
                begin = time.perf_counter()
                Runner(plan, ledger, queue, Pool(queue, SerialExecutor(plan, ledger.owner), [1])).run()
                seconds.append(time.perf_counter() - begin)
    durable, without = (statistics.median(seconds) for seconds in took.values())
    return [
        Figure("whole job, one worker: wall clock", durable, "s", without, "nothing synced", "lower", 0.95)
    ]


def _on_ray(plan: Plan, listeners: list[Any]) -> tuple[float, str]:
    """Seconds from the moment all workers are up until the last chunk is recorded."""
    start_here(WORKERS)
    queue = MemoryQueue(len(plan.worker_kinds))
    first: list[float] = []

    def begun(event: Event) -> None:
        if isinstance(event, CellDone) and not first:
            first.append(event.answer.started)

    with open_run(plan, {}) as ledger:
        pool = Pool(queue, RayExecutor(plan, ledger.owner), [WORKERS])
        status = Runner(plan, ledger, queue, pool, [begun, *listeners]).run()
        took = time.time() - first[0]
    return took, status


if __name__ == "__main__":
    for figure in run():
        Console().print(*figure.row())
    ray.shutdown()
