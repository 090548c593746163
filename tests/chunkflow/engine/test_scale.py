"""The real runner, ledger, queues and pools with thousands of workers that only pass the time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.queue.cells import WorkerPlace
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.run.events import CellDone, Event
from chunkflow.engine.run.opening import open_run
from chunkflow.engine.run.runner import Runner
from chunkflow.jobs.planned import open_plan
from testbed.processes import killed_in_the_middle, started, told_by, written
from testbed.scaling_run import CountingExecutor
from testbed.simulated import SimulatedExecutor, job_of
from testbed.timed import Together, run_with

DEPENDENT = ["Copy", "Near", "Sections"]


def times_begun(file: Path) -> Counter[int]:
    return Counter(np.fromfile(file, np.uint8).tolist())


def test_two_thousand_workers_do_each_chunk_once(tmp_path: Path) -> None:
    plan = open_plan(job_of(tmp_path, "job", (20, 20, 10), DEPENDENT))
    executor = CountingExecutor(0.001, plan, tmp_path / "begun")
    run_with(plan, executor, 2000)
    assert times_begun(tmp_path / "begun") == {1: 3 * 4000}
    steps = Ledger.load(Folder(plan.work)).stages
    assert [(step.done, step.repeats, step.failed) for step in steps.values()] == [(4000, 0, 0)] * 3


def test_none_of_two_thousand_workers_is_left_with_nothing(tmp_path: Path) -> None:
    plan = open_plan(job_of(tmp_path, "job", (2000, 3, 1), ["Copy"]))
    run_with(plan, Together(SimulatedExecutor(lambda stage: 0.5), 2000), 2000)
    workers = Ledger.load(Folder(plan.work)).stages["Copy"].workers
    assert len(workers) == 2000


def test_pools_on_one_queue_share_what_there_is(tmp_path: Path) -> None:
    plan = open_plan(job_of(tmp_path, "job", (30, 20, 20), ["Copy"]))
    queue = MemoryQueue()
    pools = [
        Pool(queue, SimulatedExecutor(lambda stage: 0.3, lambda worker, n=n: WorkerPlace(f"{n}")), [500])
        for n in range(4)
    ]
    done: Counter[str] = Counter()

    def listen(event: Event) -> None:
        if isinstance(event, CellDone):
            done[event.answer.place.node] += 1

    with open_run(plan, {}) as ledger:
        for pool in pools[1:]:
            pool.start()
        assert Runner(plan, ledger, queue, pools[0], [listen]).run() == "complete"
    for pool in pools[1:]:
        pool.stop()
        assert pool.error is None
    assert sum(done.values()) == 12_000
    assert min(done[f"{n}"] for n in range(4)) > 500, "of 3000 that are its share"


def test_a_runner_that_is_killed_among_many_chunks_is_gone_on_with(tmp_path: Path) -> None:
    job = job_of(tmp_path, "job", (20, 20, 20), DEPENDENT)
    path, begun, cells = written(tmp_path, job), tmp_path / "begun", 3 * 8000
    words = [str(path), "300", "0.02", str(begun)]
    killed_in_the_middle(started("run", words), job, cells)
    recorded = sum(step.done for step in Ledger.load(Folder(job.work)).stages.values())
    assert cells / 2 <= recorded < cells
    told = told_by(started("run", words))
    assert told["done"] == cells - recorded, "what is recorded is not done again"
    times = times_begun(begun)
    assert set(times) <= {1, 2}
    assert times.total() == cells
    steps = Ledger.load(Folder(job.work)).stages.values()
    assert sum(step.done for step in steps) == cells
    assert sum(step.repeats for step in steps) == 0
