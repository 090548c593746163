"""Contract between a runner and its pools: heartbeats, the write fence, and the stop file.

A runner whose store does not answer ends before its workers' writes are fenced off.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

FENCE_HEARTBEATS = 12
"""A worker writes nothing once its runner missed so many heartbeats, as another may hold the work folder."""
LEDGER_PATIENCE_HEARTBEATS = 10
"""A runner ends once it could not write its ledger for so many heartbeats."""
BEATS = 4
"""So often in a heartbeat it is seen to whether one is due."""

STOP = "stop"
"""A file of this name in the work folder asks the runner and all pools to end in good order."""


class Heartbeat:
    """A thread that beats from the moment a ledger is taken until it is closed, whatever its owner is at."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = weakref.WeakMethod(beat)  # a ledger that nobody has any more is not held
        self._over = threading.Event()
        self._error: BaseException | None = None

    def start(self, seconds: float) -> None:
        """Beat every so many seconds."""
        threading.Thread(target=self._work, args=(seconds / BEATS,), name="heartbeat", daemon=True).start()

    def check(self) -> None:
        """Raise what a beat has raised; that was the last one."""
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Beat no more."""
        self._over.set()

    def _work(self, pause: float) -> None:
        while not self._over.wait(pause):
            beat = self._beat()
            if beat is None:
                return
            try:
                beat()
            except BaseException as error:
                self._error = error
                return
            del beat
