"""A runner or a pool with simulated workers, in a process of its own, to be measured and killed by its id.

`python -m testbed.scaling_run run JOB.json WORKERS SECONDS [BEGUN.bin]` runs a job. It prints its memory
before it plans, and at the end what the run took, as JSON. In BEGUN.bin it counts how often each cell was
begun, a byte a cell, and goes on from what is there.

`python -m testbed.scaling_run pool JOB.json WORKERS SECONDS` works for that run over the job's queue;
it says once it is ready for it.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.queue.cells import Range
from chunkflow.engine.queue.sqs.client import SqsClient
from chunkflow.engine.queue.sqs.queues import Queues
from chunkflow.engine.run.events import CellDone, Event
from chunkflow.engine.run.opening import open_run
from chunkflow.engine.run.runner import Runner
from chunkflow.errors import ChunkflowError
from chunkflow.jobs.planned import open_plan
from chunkflow.jobs.queues import JobQueue, run_of, sqs_queue
from testbed.simulated import SimulatedExecutor

LOOK_SECONDS = 0.2


class CountingExecutor(SimulatedExecutor):
    """Counts in a file how often each cell is begun, so that it is known also of a process that is killed."""

    def __init__(self, seconds: float, plan: Plan, begun: Path) -> None:
        super().__init__(lambda stage: seconds)
        sizes = [len(stage.grid) for stage in plan.stages]
        self._first = np.concatenate([[0], np.cumsum(sizes)])
        begun.touch()
        with begun.open("r+b") as file:
            file.truncate(sum(sizes))
        self._begun = np.asarray(np.memmap(begun, np.uint8, "r+"))  # a plain array is quicker

    def submit(self, worker: str, batch: Range) -> None:
        first = self._first[batch.stage]
        self._begun[first + batch.start : first + batch.stop] += 1
        super().submit(worker, batch)


class Watch:
    """Listens to a run: the memory of this process, and when the first cell was begun."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.before = self.most = self._process.memory_info().rss
        self.done, self.first = 0, float("inf")
        self._looked = 0.0

    def hear(self, event: Event) -> None:
        if isinstance(event, CellDone):
            self.done += 1
            self.first = min(self.first, event.answer.started)
        elif time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            self.look()

    def look(self) -> None:
        self.most = max(self.most, self._process.memory_info().rss)


def run(job: Job, workers: int, seconds: float, begun: str = "") -> None:
    watch, begin = Watch(), time.time()
    print(json.dumps({"bytes": watch.before}), flush=True)
    plan = open_plan(job)
    executor = (
        CountingExecutor(seconds, plan, Path(begun)) if begun else SimulatedExecutor(lambda stage: seconds)
    )
    jobs_queue = JobQueue(plan, lambda sentence: print(sentence, file=sys.stderr))
    with open_run(plan, {}) as ledger, jobs_queue.opened(ledger.state) as queue:
        status = Runner(plan, ledger, queue, Pool(queue, executor, [workers]), [watch.hear]).run()
        ended = time.time()
    watch.look()
    told = {"status": status, "seconds": ended - begin, "first": ended - watch.first, "done": watch.done}
    print(json.dumps({**told, "grown": (watch.most - watch.before) / 1e6}))


def pool(job: Job, workers: int, seconds: float) -> None:
    plan = open_plan(job)
    ledger = Ledger.load(Folder(plan.work))
    print("ready", flush=True)
    while not ledger.state.begun:
        time.sleep(LOOK_SECONDS)
        ledger.refresh()
    queues = Queues(SqsClient(), job.queue, len(plan.worker_kinds), run_of(ledger.state))
    queue = sqs_queue(plan, queues)
    working = Pool(queue, SimulatedExecutor(lambda stage: seconds), [workers])
    working.start()
    while ledger.state.ended is None and working.error is None:
        time.sleep(LOOK_SECONDS)
        ledger.refresh()
    working.stop()
    with suppress(ChunkflowError):  # the runner has removed the queues
        queue.close()


def main(what: str, path: str, workers: str, seconds: str, begun: str = "") -> None:
    job = Job.model_validate_json(Path(path).read_text())
    if what == "run":
        run(job, int(workers), float(seconds), begun)
    else:
        pool(job, int(workers), float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
