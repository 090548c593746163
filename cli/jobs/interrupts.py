"""Ctrl-C and SIGTERM while a job runs, or a pool works for one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType


class Interrupts:
    """Ctrl-C (and SIGTERM) ends a run or a pool in good order, the second one at once; the third one does not
    wait for it."""

    def __init__(self, interrupt: Callable[[], None], tell: Callable[[], None] = lambda: None) -> None:
        """`interrupt` is called by the first and the second one, `tell` by the first."""
        self._interrupt, self._tell = interrupt, tell
        self._count = 0

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 2:
            raise KeyboardInterrupt
        self._interrupt()
        if self._count == 1:
            self._tell()

    def __enter__(self) -> Interrupts:
        self._before = {n: signal.signal(n, self._stop) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
