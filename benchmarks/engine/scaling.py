"""How the engine bears many workers and many chunks: weak scaling, leases, a million chunks killed in the
middle. `python -m benchmarks.engine.scaling leases million` measures some of it.

Workers that sleep or are simulated take no core, so what is measured is the engine's own part.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray

from benchmarks.figure import Figure
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.pool.executor import Executor
from chunkflow.jobs.planned import open_plan
from cluster.workers.connection import start_here
from cluster.workers.executor import RayExecutor
from testbed.moto import CREDENTIALS, moto_server
from testbed.processes import ended, killed_in_the_middle, started, told_by, written
from testbed.simulated import SimulatedExecutor, job_of
from testbed.timed import run_together, run_with

CHUNKS_EACH = 10
SECONDS = 2.0
WORKER_BYTES = 300 * 2**20
MOST_WORKERS = 100
PAPER_WEAK, PAPER_LARGE = 9.0, 30.0
"""Percent more time that the paper saw for 100 times the work, and that it forecasts for 10,000 workers."""
DAISY = {500: 140.0, 2500: 108.0}
"""Blocks a second that daisy's scheduler hands out to so many workers, as its users found."""
POOLS, POOL_WORKERS, POOL_SECONDS, POOL_CHUNKS_EACH = 4, 2500, 10.0, 6
NEGLIGIBLE = 0.01


def run(chosen: tuple[str, ...] = ("real", "simulated", "pools", "leases", "million")) -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="chunkflow-bench-"))
    try:
        return [figure for name in chosen for figure in PARTS[name](folder)]
    finally:
        shutil.rmtree(folder)


def real(folder: Path) -> list[Figure]:
    """Processes of Ray that sleep, as many as there is memory for."""
    fitting = int(psutil.virtual_memory().available * 0.6 / WORKER_BYTES)
    counts = [1, 25, min(MOST_WORKERS, fitting)]
    ray.shutdown()
    start_here(max(counts))
    try:
        took = {count: weak(folder, "real", count, ray_workers) for count in counts}
    finally:
        ray.shutdown()
    return [more(f"processes of Ray: {count} times the work", took[count] / took[1]) for count in counts[1:]]


def simulated(folder: Path) -> list[Figure]:
    counts = [20, 100, 2000]
    took = {count: weak(folder, "simulated", count, simulated_workers) for count in counts}
    ideal = CHUNKS_EACH * SECONDS
    return [
        more("simulated, 20 to 2,000 workers: 100 times the work", took[2000] / took[20]),
        more("simulated, 100 to 2,000 workers: 20 times the work", took[2000] / took[100]),
        Figure("simulated, 2,000 workers: more than map alone", 100 * (took[2000] / ideal - 1), "%"),
    ]


def more(what: str, ratio: float, peer: float = PAPER_WEAK) -> Figure:
    """The time that something takes more than it would at best, beside the paper's."""
    percent = max(100 * (ratio - 1), NEGLIGIBLE)
    return Figure(f"{what} takes more time by", percent, "%", peer, "the paper", "lower", target=3)


def ray_workers(plan: Any) -> Executor:
    return RayExecutor(plan)


def simulated_workers(plan: Any) -> Executor:
    return SimulatedExecutor(lambda stage: SECONDS)


def weak(folder: Path, name: str, workers: int, executor_for: Callable[[Any], Executor]) -> float:
    """Seconds from all workers being up until the last chunk is recorded, each having as many to do."""
    plan = open_plan(job_of(folder, f"{name}{workers}", (workers, CHUNKS_EACH, 1), ["Sleep"]))
    return run_together(plan, executor_for(plan), workers)


def pools(folder: Path) -> list[Figure]:
    """A runner with its own pool and three other pools, each in a process, over a stand-in for SQS."""
    cells = POOLS * POOL_WORKERS * POOL_CHUNKS_EACH
    job = job_of(folder, "pools", (100, 100, cells // 10**4), ["Copy"])
    path = written(folder, job.model_copy(update={"queue": "sqs://bench"}))
    with ExitStack() as stack:
        address = stack.enter_context(moto_server())
        environment = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": address}
        words = [str(path), str(POOL_WORKERS), str(POOL_SECONDS)]
        others = [started("pool", words, environment) for _ in range(POOLS - 1)]
        for other in others:
            stack.callback(ended, other)
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline(), "a pool is ready, and waits for the run"
        told = told_by(started("run", words, environment))
    workers = Ledger.load(Folder(job.work)).stages["Copy"].workers
    ideal = POOL_CHUNKS_EACH * POOL_SECONDS
    what = f"{len(workers):,} simulated workers in {POOLS} pools over SQS, chunks of {POOL_SECONDS:g} s: all"
    return [more(what, told["first"] / ideal, PAPER_LARGE)]


def leases(folder: Path) -> list[Figure]:
    """Chunks handed out, answered and recorded: one at a time, and chunks that take no time."""
    return [
        leased(folder, workers, name, seconds, side)
        for name, seconds, side in (("one by one", 0.13, 40), ("chunks of no time", 0.0, 60))
        for workers in DAISY
    ]


def leased(folder: Path, workers: int, name: str, seconds: float, side: int) -> Figure:
    plan = open_plan(job_of(folder, f"{name}{workers}", (side, side, side), ["Copy"]))
    rate = side**3 / run_with(plan, SimulatedExecutor(lambda stage: seconds), workers)
    peer = DAISY[workers]
    return Figure(f"leases, {workers} workers, {name}", rate, "/s", peer, "daisy", target=1000 / peer)


def million(folder: Path, side: int = 100, workers: int = 2000, seconds: float = 0.01) -> list[Figure]:
    """Chunks of three tasks that wait for the chunk, for all that touch it and for the section before; the
    runner is killed in the middle and started again."""
    job = job_of(folder, f"million{side}", (side, side, side), ["Copy", "Near", "Sections"])
    path, begun = written(folder, job), folder / "begun.bin"
    words = [str(path), str(workers), str(seconds), str(begun)]
    begin = time.perf_counter()
    first = started("run", words)
    grown = killed_in_the_middle(first, job, 3 * side**3)
    recorded = sum(step.done for step in Ledger.load(Folder(job.work)).stages.values())
    told = told_by(started("run", words))
    took = time.perf_counter() - begin
    counts = np.fromfile(begun, np.uint8)
    assert told["done"] == 3 * side**3 - recorded, "what the ledger holds is not done again"
    assert set(counts) <= {1, 2}, "each chunk is begun, and at most once in each run"
    what = f"{side**3:,} chunks × 3 dependent tasks"
    return [
        Figure(f"{what}: wall clock", took, "s", better="lower", target=900),
        Figure(f"{what}: done", 3 * side**3 / took, "/s"),
        Figure(f"{what}: the runner grows by", max(grown, told["grown"]), "MB", better="lower", target=100),
        Figure(
            f"{what}: begun twice, killed at {recorded:,}", float((counts == 2).sum()), "", better="lower"
        ),
    ]


PARTS: dict[str, Callable[[Path], list[Figure]]] = {
    part.__name__: part for part in (real, simulated, pools, leases, million)
}

if __name__ == "__main__":
    for figure in run(tuple(sys.argv[1:]) or tuple(PARTS)):
        print(*figure.row(), sep=" | ")
