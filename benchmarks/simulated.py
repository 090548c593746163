"""The real runner, ledger, queue and pool over workers that only pass the time: thousands of them, and a
million chunks, on one core."""

from __future__ import annotations

import heapq
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import psutil

from benchmarks.figure import Figure
from chunkflow.describe import open_plan
from chunkflow.geometry import Box
from chunkflow.job import Job
from chunkflow.opening import open_run
from chunkflow.plan import Plan
from chunkflow.pool import Finished, Happening, Pool, Up
from chunkflow.queue import NOWHERE, Answer, MemoryQueue, Place, Range
from chunkflow.runner import Runner
from chunkflow.storage import Folder
from chunkflow.volume import LayerInfo, layer_document
from cli.builtin import task_type

CHUNK = 64


class SimulatedExecutor:
    """Workers that do one batch after the other, each cell in so many seconds of the clock on the wall; what
    is due next lies on a heap, so that thousands of them cost no thread."""

    def __init__(
        self, seconds: Callable[[int], float], place_of: Callable[[str], Place] = lambda worker: NOWHERE
    ) -> None:
        self._seconds, self._place_of = seconds, place_of
        self._places: dict[str, Place] = {}
        self._free: dict[str, float] = {}  # when each worker will have done all that it has in hand
        self._due: list[tuple[float, int, Happening]] = []
        self._order = count()
        self._names = count()

    def start_worker(self, kind: int = 0) -> str:
        name = f"simulated-{next(self._names)}"
        self._places[name] = self._place_of(name)
        self._free[name] = time.monotonic()
        heapq.heappush(self._due, (self._free[name], next(self._order), Up(name, self._places[name])))
        return name

    def submit(self, worker: str, batch: Range) -> None:
        now = time.monotonic()
        begin = max(self._free[worker], now)
        started = time.time() + begin - now
        seconds = self._seconds(batch.stage)
        self._free[worker] = begin + seconds * len(batch)
        answers = [
            Answer(
                batch.stage,
                index,
                worker,
                started=started + seconds * place,
                seconds=(0.0, seconds, 0.0),
                bytes_out=CHUNK**3,
                place=self._places[worker],
            )
            for place, index in enumerate(range(batch.start, batch.stop))
        ]
        done = Finished(worker, batch, answers)
        heapq.heappush(self._due, (self._free[worker], next(self._order), done))

    def wait(self, seconds: float) -> list[Happening]:
        now = time.monotonic()
        if not self._due or self._due[0][0] > now:
            time.sleep(min(seconds, self._due[0][0] - now) if self._due else seconds)
            now = time.monotonic()
        happened = []
        while self._due and self._due[0][0] <= now:
            event = heapq.heappop(self._due)[2]
            if event.worker in self._free:
                happened.append(event)
        return happened

    def end_worker(self, worker: str) -> None:
        self._free.pop(worker, None)

    def heard(self) -> None:
        pass

    def close(self) -> None:
        self._free.clear()
        self._due.clear()


def job_of(folder: Path, name: str, shape: tuple[int, int, int], tasks: int) -> Job:
    """A job of tasks that each wait for the same chunk of the one before, over a layer without voxels."""
    bounds = Box.of_size((shape[0] * CHUNK, shape[1] * CHUNK, shape[2] * CHUNK))
    info = LayerInfo(
        url=str(folder / "none"),
        kind="image",
        bounds=bounds,
        volume=bounds,
        voxel_size=(1000.0, 1000.0, 1000.0),
    )
    Folder(info.url).put("info", json.dumps(layer_document([info])).encode())
    layers = {"layer0": info.url} | {f"layer{i}": str(folder / name / f"{i}") for i in range(1, tasks + 1)}
    steps = [
        {"benchmarks.engine_tasks:Copy": {"image": f"layer{i}", "copied": f"layer{i + 1}"}}
        for i in range(tasks)
    ]
    document = {
        "job": name,
        "work": str(folder / name / "work"),
        "chunk": [CHUNK] * 3,
        "storage": [CHUNK] * 3,
        "layers": layers,
        "tasks": steps,
    }
    return Job.from_document(document, task_type, folder)


def run_simulated(plan: Plan, executor: SimulatedExecutor, workers: int) -> float:
    """Seconds that a run takes."""
    queue = MemoryQueue(len(plan.worker_kinds))
    begin = time.perf_counter()
    with open_run(plan, {}) as ledger:
        status = Runner(plan, ledger, queue, Pool(queue, executor, [workers])).run()
    assert status == "complete", status
    return time.perf_counter() - begin


def leases(folder: Path, workers: int) -> Figure:
    """Chunks handed out one by one, answered and recorded, where as many workers could do more."""
    plan = open_plan(job_of(folder, f"leases{workers}", (20, 20, 25), 1))
    took = run_simulated(plan, SimulatedExecutor(lambda stage: 0.2), workers)
    return Figure(f"leases, {workers} workers", len(plan.steps[0].grid) / took, "/s", target=1000)


def dependent(folder: Path, side: int, workers: int = 1000) -> list[Figure]:
    """Quick chunks of three tasks that wait for one another, with the ledger on disk."""
    plan = open_plan(job_of(folder, f"dependent{side}", (side, side, side), 3))
    before = psutil.Process().memory_info().rss
    took = run_simulated(plan, SimulatedExecutor(lambda stage: 0.01), workers)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6
    cells = sum(len(stage.grid) for stage in plan.stages)
    what = f"{side**3} chunks × 3 tasks"
    return [
        Figure(f"{what}, {workers} workers", cells / took, "/s", target=6000),
        Figure(f"{what}: wall clock", took, "s", better="lower", target=900),
        Figure(f"{what}: the driver grows by", grown, "MB", better="lower", target=100),
    ]


def busy(folder: Path, workers: int = 10_000, seconds: float = 10.0) -> Figure:
    """The share of their time that so many workers map, over six chunks each."""
    plan = open_plan(job_of(folder, f"busy{workers}", (100, 100, 6 * workers // 10_000), 1))
    took = run_simulated(plan, SimulatedExecutor(lambda stage: seconds), workers)
    share = len(plan.steps[0].grid) * seconds / (took * workers)
    return Figure(f"{workers} workers, chunks of {seconds:g} s: busy", share, "", target=0.9)


def run(side: int = 40) -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="chunkflow-bench-"))
    try:
        found = [leases(folder, workers) for workers in (500, 1000, 2500)]
        return [*found, busy(folder), *dependent(folder, side)]
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    for figure in run(int(sys.argv[1]) if len(sys.argv) > 1 else 40):
        print(*figure.row(), sep=" | ")
