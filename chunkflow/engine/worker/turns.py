"""Stage locks of a worker's threads, and its write fence.

1. One thread reads, one maps and one writes at a time, so at most three cells are in memory.
2. Nothing is written any more once the runner's last heartbeat is older than the fence allows, as another
   runner may have taken over.
3. Once the node is about to be taken, no cell is begun; one that is being mapped is finished.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from chunkflow.engine.worker.usage import Usage
from chunkflow.errors import Overtaken


def clock() -> float:
    """Seconds of a clock that nobody sets and, where there is one, that goes on while the machine sleeps:
    on Linux `monotonic` stands still then, and a worker that wakes up would take its last word for new."""
    boottime: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class Left(Exception):
    """A cell was not begun, as the worker's node is about to be taken."""


class Turns:
    """Stage locks of one worker, timed, and the fence before its writes.

    Writes are refused once no heartbeat came for `fence` seconds.
    """

    def __init__(self, fence: float) -> None:
        self._reading, self._mapping, self._writing = threading.Lock(), threading.Lock(), threading.Lock()
        self._fence = fence
        self._last_heartbeat = clock()
        self._leaves = False

    def heartbeat(self) -> None:
        self._last_heartbeat = clock()

    def leave(self) -> None:
        self._leaves = True

    def begin(self) -> None:
        """Raise Left where no cell may be begun any more."""
        if self._leaves:
            raise Left

    def check(self) -> None:
        """Raise Overtaken where nothing may be written any more."""
        silent = clock() - self._last_heartbeat
        if silent > self._fence:
            raise Overtaken(f"This worker has had no word from its runner for {silent:.0f} s.")

    @contextmanager
    def read(self, usage: Usage) -> Iterator[None]:
        with self._reading, usage.timed("read"):
            yield

    @contextmanager
    def map(self, usage: Usage) -> Iterator[None]:
        with self._mapping:
            if not usage.map_began:
                self.begin()
            with usage.timed("map"):
                yield

    @contextmanager
    def decide(self, usage: Usage) -> Iterator[None]:
        """Read and map in one: `prepare` takes its samples as it goes."""
        with self._reading, self.map(usage):
            yield

    @contextmanager
    def write(self, usage: Usage) -> Iterator[None]:
        with self._writing, usage.timed("write"):
            self.check()
            yield

    @contextmanager
    def merge(self, usage: Usage) -> Iterator[None]:
        """Map and write in one: rows are merged as they are written."""
        with self._mapping:
            self.begin()
            with self.write(usage):
                yield
