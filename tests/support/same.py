"""The same answer, however a job is cut and whoever does it: a job is run in many ways and compared."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.executor import Executor, Happening
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.pool.serial import SerialExecutor
from chunkflow.engine.queue.cells import Answer, Range
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.queue.queue import Queue
from chunkflow.engine.run.opening import open_run
from chunkflow.engine.run.runner import Runner
from chunkflow.geometry import Vec
from chunkflow.jobs.planned import open_plan
from cluster.workers.executor import RayExecutor
from tests.support.jobs import read_layer, read_table

Outcome = Mapping[str, Any]


@dataclass(frozen=True)
class Way:
    """One way to run a job."""

    chunk: Vec
    workers: int = 1
    ray: bool = False
    shuffled: bool = False
    kills: int = 0

    def __str__(self) -> str:
        words = ["x".join(map(str, self.chunk)), "ray" if self.ray else "serial", f"{self.workers}w"]
        return "-".join(words + ["shuffled"] * self.shuffled + [f"{self.kills}kills"] * bool(self.kills))


class ShufflingQueue(MemoryQueue):
    """Hands out single cells in a random order, and brings answers late and out of order."""

    def __init__(self, worker_kinds: int = 1, seed: int = 0) -> None:
        super().__init__(worker_kinds)
        self._random = random.Random(seed)

    def put(self, ranges: Sequence[Range]) -> None:
        cells = [r.split(i)[1].split(1)[0] for r in ranges for i in range(len(r))]
        super().put(cells)
        with self._changed:
            for waiting in self._ranges:
                self._random.shuffle(waiting)

    def answers(self, wait: float) -> list[Answer]:
        found = super().answers(wait)
        self._random.shuffle(found)
        return found


class KillingExecutor:
    """Hands all on to a Ray executor, and ends the process of a worker now and then, from outside."""

    def __init__(self, inner: RayExecutor, kills: int, seed: int = 0) -> None:
        self.inner, self.kills_left = inner, kills
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._given = 0

    def start_worker(self, kind: int = 0) -> str:
        return self.inner.start_worker(kind)

    def submit(self, worker: str, batch: Range) -> None:
        self.inner.submit(worker, batch)
        self._given += 1
        if self.kills_left and self._given % 5 == 0 and self.inner.pids:
            with suppress(ProcessLookupError):  # it has ended by itself; the next one's turn comes
                os.kill(self._random.choice(list(self.inner.pids.values())), signal.SIGKILL)
                self.kills_left -= 1

    def wait(self, seconds: float) -> list[Happening]:
        return self.inner.wait(seconds)

    def end_worker(self, worker: str) -> None:
        self.inner.end_worker(worker)

    def heartbeat(self) -> None:
        self.inner.heartbeat()

    def close(self) -> None:
        self.inner.close()


def run_in(way: Way, job: Job) -> str:
    """Run a job in one way, to its end."""
    plan = open_plan(job)
    return run_with(
        plan,
        executor_of(way, plan),
        ShufflingQueue(len(plan.worker_kinds)) if way.shuffled else None,
        way.workers,
    )


def executor_of(way: Way, plan: Plan) -> Executor:
    if not way.ray:
        return SerialExecutor(plan)
    executor = RayExecutor(plan)
    return KillingExecutor(executor, way.kills) if way.kills else executor


def run_with(
    plan: Plan,
    executor: Executor,
    queue: Queue | None = None,
    workers: int = 1,
    patience: float = 600.0,
    restart: str = "",
) -> str:
    queue = queue or MemoryQueue(len(plan.worker_kinds))
    with open_run(plan, {}, restart) as ledger:
        pool = Pool(queue, executor, [workers] * len(plan.worker_kinds), patience)
        return Runner(plan, ledger, queue, pool, (), 0.01).run()


def same_everywhere(
    folder: Path,
    job_of: Callable[[Path, Vec], Job],
    whole: Vec,
    ways: Iterable[Way],
    outcome: Callable[[Job], Outcome] | None = None,
) -> None:
    """Run the job of `job_of(folder, chunk)` once in one piece (`whole`) and in every other way, and hold
    what each leaves against the first; `outcome` says what a job has left, all that it made by default."""
    outcome = outcome or all_made
    reference = job_of(folder / "whole", whole)
    assert run_in(Way(whole), reference) == "complete"
    expected = outcome(reference)
    for way in ways:
        job = job_of(folder / str(way), way.chunk)
        assert run_in(way, job) == "complete", way
        assert_same(outcome(job), expected, str(way))
        assert_all_accounted(job, clean=way.kills == 0)


def all_made(job: Job) -> dict[str, Any]:
    """Everything a job made: voxels by layer and mip, tables sorted by id, files by name."""
    plan = open_plan(job)
    made: dict[str, Any] = {}
    for product in plan.products.values():
        key, info = f"{product.name}@{product.mip}", product.info
        if product.maker is None:
            continue
        if info.kind == "table":
            made[key] = read_table(info.url)
        elif info.kind == "folder":
            made[key] = files_of(info.url)
        else:
            made[key] = read_layer(info.url, product.mip)
            made[f"{product.name}/info"] = json.loads(Folder(info.url).get("info") or b"")
    return made


def files_of(url: str) -> dict[str, bytes]:
    folder = Folder(url)
    return {name: folder.get(name) or b"" for name in sorted(folder.list())}


def assert_same(found: Outcome, expected: Outcome, where: str) -> None:
    assert found.keys() == expected.keys(), where
    for key, wanted in expected.items():
        what = f"{where}: {key}"
        if isinstance(wanted, np.ndarray):
            assert found[key].dtype == wanted.dtype, what
            wrong = int(np.count_nonzero(found[key] != wanted)) if found[key].shape == wanted.shape else -1
            assert wrong == 0, f"{what}: {wrong} voxels differ of {wanted.size}"
        elif isinstance(wanted, pa.Table):
            assert found[key].column_names == wanted.column_names, what
            assert found[key].equals(wanted), f"{what}: rows differ"
        else:
            assert found[key] == wanted, what


def assert_all_accounted(job: Job, clean: bool = False) -> None:
    """Every cell of every stage is done, once, in the ledger; `clean` where no attempt may have failed."""
    state = Ledger.load(Folder(job.work)).state
    plan = open_plan(job)
    for stage in plan.stages:
        known = state.stages[stage.name]
        assert (known.done, known.cells) == (len(stage.grid), len(stage.grid)), stage.name
        assert known.failed == 0
        assert not (clean and known.causes), f"{stage.name}: {known.causes}"
