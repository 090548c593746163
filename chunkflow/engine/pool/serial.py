"""Serial executor: one cell at a time in this process, for debugging and small jobs.

It shares its process with the runner, so a map that kills its process kills the run (which can be resumed),
and one that never ends cannot be ended.
"""

from __future__ import annotations

import secrets
import time
from collections import deque

from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.executor import BatchDone, Happening, Up
from chunkflow.engine.queue.cells import Range
from chunkflow.engine.worker.worker import Worker


class SerialExecutor:
    """Does batches in the thread that waits for them."""

    def __init__(self, plan: Plan, owner: str = "") -> None:
        self._plan, self._owner = plan, owner
        self._workers: dict[str, Worker] = {}
        self._batches: deque[tuple[str, Range]] = deque()
        self._started: list[Happening] = []
        self._pool = secrets.token_hex(2)  # several pools may share a queue, and names are in the ledger
        self._count = 0

    def start_worker(self, kind: int = 0) -> str:
        name = f"serial-{self._pool}-{self._count}"
        self._count += 1
        self._workers[name] = Worker(self._plan, name, owner=self._owner)
        self._started.append(Up(name))
        return name

    def submit(self, worker: str, batch: Range) -> None:
        self._batches.append((worker, batch))

    def wait(self, seconds: float) -> list[Happening]:
        if self._started:
            started, self._started = self._started, []
            return started
        if not self._batches:
            time.sleep(seconds)
            return []
        name, batch = self._batches.popleft()
        return [BatchDone(name, batch, self._workers[name].process(batch))]

    def end_worker(self, worker: str) -> None:
        self._batches = deque(item for item in self._batches if item[0] != worker)
        self._workers.pop(worker, None)

    def heartbeat(self) -> None:
        for worker in list(self._workers.values()):
            worker.heartbeat()

    def close(self) -> None:
        self._batches.clear()
        self._workers.clear()
