"""Who of a worker's threads may read, map and write: one of each at a time, so at most three cells are in
memory; and until when they may.

1. Nothing is written any more once the runner has given no word for `silence` seconds, as another runner may
   have taken over.
2. Once the node is about to be taken, no cell is begun; one that is being mapped is finished.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from chunkflow.engine.worker.spent import Spent
from chunkflow.errors import Overtaken


class Left(Exception):
    """A cell was not begun, as the worker's node is about to be taken."""


class Turns:
    """Hands out the turns of one worker, and measures them."""

    def __init__(self, silence: float) -> None:
        self._reading, self._mapping, self._writing = threading.Lock(), threading.Lock(), threading.Lock()
        self._silence = silence
        self._last_word = time.monotonic()
        self._leaves = False

    def heard(self) -> None:
        self._last_word = time.monotonic()

    def leave(self) -> None:
        self._leaves = True

    def begin(self) -> None:
        """A cell is begun, if it may be."""
        if self._leaves:
            raise Left

    @contextmanager
    def read(self, spent: Spent) -> Iterator[None]:
        with self._reading, spent.timed("read"):
            yield

    @contextmanager
    def map(self, spent: Spent) -> Iterator[None]:
        with self._mapping:
            if not spent.map_began:
                self.begin()
            with spent.timed("map"):
                yield

    @contextmanager
    def decide(self, spent: Spent) -> Iterator[None]:
        """Read and map in one: `prepare` takes its samples as it goes."""
        with self._reading, self.map(spent):
            yield

    @contextmanager
    def write(self, spent: Spent) -> Iterator[None]:
        with self._writing, spent.timed("write"):
            silent = time.monotonic() - self._last_word
            if silent > self._silence:
                raise Overtaken(f"This worker has had no word from its runner for {silent:.0f} s.")
            yield

    @contextmanager
    def merge(self, spent: Spent) -> Iterator[None]:
        """Map and write in one: rows are merged as they are written."""
        with self._mapping:
            self.begin()
            with self.write(spent):
                yield
