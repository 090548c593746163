"""Ctrl-C and SIGTERM while a job runs, or a pool works for one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType

from chunkflow.runner import Runner


class Interrupts:
    """Ctrl-C (and SIGTERM) ends a run or a pool in good order, the second one at once.

    One that comes while Ray starts waits until it is up: a start that is torn apart leaves processes behind.
    """

    def __init__(self, tell: Callable[[], None] = lambda: None) -> None:
        """`tell` is called by the first one."""
        self.asked = False
        self._tell = tell
        self._runner: Runner | None = None

    def attend(self, runner: Runner) -> None:
        self._runner = runner
        if self.asked:
            runner.interrupt()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if self._runner is not None:
            self._runner.interrupt()
        self._tell()

    def __enter__(self) -> Interrupts:
        self._before = {n: signal.signal(n, self._stop) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
