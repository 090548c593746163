"""Progress of a run: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from chunkflow.engine.queue.schedule import Schedule
from chunkflow.engine.run.events import Ended, Event, Started, Tick
from chunkflow.jobs.progress import Progress
from chunkflow.words import in_words

PLAIN_EVERY = 10.0
LIVE_EVERY = 0.5


@dataclass
class TerminalProgress:
    """A listener that prints how each task stands."""

    console: Console
    _progress: Progress = field(default_factory=Progress)
    _live: Live | None = None
    _shown: float = 0.0

    def __call__(self, event: Event) -> None:
        self._progress(event)
        for sentence in self._progress.sentences(event):
            self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, Tick):
            self._tick(event.schedule)
        elif isinstance(event, Ended):
            self._end(event)

    def _start(self, event: Started) -> None:
        total = int(event.schedule.counts.sum())
        resumed = f", {event.resumed:,} of them done before" if event.resumed else ""
        self.console.print(f"Job {event.plan.job.name}: {total:,} chunks{resumed}.", highlight=False)
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4, transient=True)
            self._live.start()

    def _tick(self, schedule: Schedule) -> None:
        now = time.monotonic()
        every = LIVE_EVERY if self._live else PLAIN_EVERY
        if now - self._shown < every:
            return
        self._shown = now
        if self._live:
            self._live.update(self.table(schedule))
        elif now - self._progress.begun > 1:
            self.console.print(self._line(schedule, ended=False), highlight=False, soft_wrap=True)

    def table(self, schedule: Schedule) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("task", "", "done", "running", "failed", "rate", "left"):
            table.add_column(name, justify="left" if name in ("task", "") else "right")
        for task in self._progress.tasks(schedule):
            table.add_row(
                task.name,
                ProgressBar(total=task.chunks, completed=task.done, width=24),
                f"{task.done:,}/{task.chunks:,}",
                f"{task.running:,}" if task.running else "",
                f"[red]{task.failed:,}[/red]" if task.failed else "",
                f"{task.rate:,.1f}/s" if task.rate else "",
                in_words(task.left) if task.left is not None else "",
            )
        return table

    def _line(self, schedule: Schedule, ended: bool) -> str:
        """The tasks that are being worked on; of a run that ended, all."""
        parts = [
            f"{task.name} {task.done:,}/{task.chunks:,}" + (f" ({task.failed} failed)" if task.failed else "")
            for task in self._progress.tasks(schedule)
            if ended or task.running or 0 < task.done < task.chunks
        ]
        return f"{in_words(time.monotonic() - self._progress.begun):>9}  " + ("  ".join(parts) or "waiting")

    def _end(self, event: Ended) -> None:
        if self._live:
            self._live.stop()
            self.console.print(self.table(event.schedule))
            self.console.print(f"{event.status}, after {in_words(time.monotonic() - self._progress.begun)}")
        else:
            self.console.print(self._line(event.schedule, ended=True), highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the terminal as it was, however the run ended."""
        if self._live:
            self._live.stop()
