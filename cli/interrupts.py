"""Ctrl-C and SIGTERM while a job runs."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from rich.console import Console

from chunkflow.runner import Runner


class Interrupts:
    """Ctrl-C (and SIGTERM) ends the run in good order, the second one at once.

    One that comes while Ray starts waits until it is up: a start that is torn apart leaves processes behind.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._runner: Runner | None = None
        self._asked = False

    def attend(self, runner: Runner) -> None:
        self._runner = runner
        if self._asked:
            runner.interrupt()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        if self._runner is not None:
            self._runner.interrupt()
        self._console.print(
            "Stopping: what is in flight is being finished. Once more to stop at once.", highlight=False
        )

    def __enter__(self) -> Interrupts:
        self._before = {n: signal.signal(n, self._stop) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
