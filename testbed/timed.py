"""How long a job takes: from its beginning, or from when all its workers are up."""

from __future__ import annotations

import time
from collections.abc import Sequence

from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.executor import Executor, Happening, Up
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.run.events import Listener
from chunkflow.engine.run.opening import open_run
from chunkflow.engine.run.runner import Runner


class Together:
    """Workers that come up together, as soon as all are there; notes when, and when the run is over."""

    def __init__(self, executor: Executor, workers: int) -> None:
        self._executor, self._workers = executor, workers
        self._up: list[Happening] = []
        self.begun = self.ended = 0.0
        self.start_worker, self.submit = executor.start_worker, executor.submit
        self.end_worker, self.heartbeat = executor.end_worker, executor.heartbeat

    def wait(self, seconds: float) -> list[Happening]:
        happened = self._executor.wait(seconds)
        if self.begun:
            return happened
        self._up += [event for event in happened if isinstance(event, Up)]
        if len(self._up) < self._workers:
            return [event for event in happened if not isinstance(event, Up)]
        self.begun = time.perf_counter()
        return self._up

    def close(self) -> None:
        self.ended = time.perf_counter()  # all is recorded
        self._executor.close()


def run_with(plan: Plan, executor: Executor, workers: int, listeners: Sequence[Listener] = ()) -> float:
    """Seconds that a run takes."""
    queue = MemoryQueue(len(plan.worker_kinds))
    begin = time.perf_counter()
    with open_run(plan, {}) as ledger:
        status = Runner(plan, ledger, queue, Pool(queue, executor, [workers]), listeners).run()
    assert status == "complete", status
    return time.perf_counter() - begin


def run_together(plan: Plan, executor: Executor, workers: int) -> float:
    """Seconds that a run takes from when all workers are up."""
    together = Together(executor, workers)
    run_with(plan, together, workers)
    return together.ended - together.begun
