"""An executor that does what the test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from chunkflow.engine.pool.executor import BatchDone, Happening, Up
from chunkflow.engine.queue.cells import Answer, Range


class Puppet:
    """Workers that come up when told, and answer when told."""

    def __init__(self, up: bool = True) -> None:
        self.up = up
        self.given: list[tuple[str, Range]] = []
        self.kinds: dict[str, int] = {}
        """The kind of each worker that was started."""
        self.ended: list[str] = []
        self.events: list[Happening] = []
        self.count = 0
        self.closed = False
        self._lock = threading.Lock()

    def start_worker(self, kind: int = 0) -> str:
        self.count += 1
        name = f"p{self.count}"
        self.kinds[name] = kind
        if self.up:
            self.tell(Up(name))
        return name

    def submit(self, worker: str, batch: Range) -> None:
        with self._lock:
            self.given.append((worker, batch))

    def wait(self, seconds: float) -> list[Happening]:
        time.sleep(0.001)
        with self._lock:
            found, self.events = self.events, []
        return found

    def tell(self, *events: Happening) -> None:
        with self._lock:
            self.events += events

    def finish(self, place: int, seconds: float = 0.0) -> None:
        """Answer the batch that lies at `place` of those in flight."""
        worker, batch = self.given.pop(place)
        answers = [
            Answer(batch.stage, i, worker, seconds=(0, seconds, 0)) for i in range(batch.start, batch.stop)
        ]
        self.tell(BatchDone(worker, batch, answers))

    def end_worker(self, worker: str) -> None:
        self.ended.append(worker)

    def heartbeat(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def eventually(what: Callable[[], object]) -> None:
    for _ in range(5000):
        if what():
            return
        time.sleep(0.002)
    raise AssertionError("it did not come to that")
