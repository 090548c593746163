"""Progress of a run in a notebook: a live bar for each task."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chunkflow.engine.queue.schedule import Schedule
from chunkflow.engine.run.events import Ended, Event, Listener, Said, Started, Tick
from chunkflow.jobs.progress import Progress, TaskProgress
from chunkflow.words import in_words

EVERY_SECONDS = 0.5
RUNNING = "running"


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows HTML."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def notebook_progress() -> Iterator[list[Listener]]:
    """The listener that shows a run in a notebook, until it has ended; elsewhere none."""
    shown = [NotebookProgress()] if in_notebook() else []
    try:
        yield [*shown]
    finally:
        for progress in shown:
            progress.close()


class NotebookProgress:
    """A listener that shows a run in the cell that started it, and updates it there."""

    def __init__(self) -> None:
        self._progress = Progress()
        self._display: Any = None
        self._said: list[str] = []
        self._shown = 0.0
        self._last: tuple[Schedule, str] | None = None
        """How things stood when they were shown last."""

    def __call__(self, event: Event) -> None:
        self._progress(event)
        self._said += self._progress.sentences(event)
        if isinstance(event, Started) or (
            isinstance(event, Tick) and time.monotonic() - self._shown > EVERY_SECONDS
        ):
            self._show(event.schedule, RUNNING)
        elif isinstance(event, Ended):
            self._show(event.schedule, event.status)
        elif isinstance(event, Said) and self._last is not None:
            self._show(*self._last)

    def close(self) -> None:
        """Say that nothing goes on any more, where a run has ended by an error."""
        if self._last is not None and self._last[1] == RUNNING:
            self._show(self._last[0], "stopped")

    def _show(self, schedule: Schedule, status: str) -> None:
        from IPython.display import HTML, display

        self._shown, self._last = time.monotonic(), (schedule, status)
        shown = HTML(self.page(schedule, status))
        if self._display is None:
            self._display = display(shown, display_id=True)
        else:
            self._display.update(shown)

    def page(self, schedule: Schedule, status: str) -> str:
        """The bars as HTML."""
        assert self._progress.plan is not None
        took = in_words(time.monotonic() - self._progress.begun)
        title = html.escape(f"{self._progress.plan.job.name}: {status}, {took}")
        rows = "".join(map(_row, self._progress.tasks(schedule)))
        said = "".join(f"<div>{html.escape(sentence)}</div>" for sentence in self._said)
        return f"<b>{title}</b><table>{rows}</table>{said}"


def _row(task: TaskProgress) -> str:
    left = f"{in_words(task.left)} left" if task.left is not None and task.running else ""
    rate = f"{task.rate:,.1f}/s" if task.rate else ""
    failed = f'<span style="color:#c00000">{task.failed:,} failed</span>' if task.failed else ""
    bar = f'<progress value="{task.done}" max="{task.chunks}" style="width:16em"></progress>'
    cells = (html.escape(task.name), bar, f"{task.done:,}/{task.chunks:,}", rate, left, failed)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
