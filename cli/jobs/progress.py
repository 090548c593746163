"""Progress of a run: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.queue.schedule import DONE, FAILED, LEASED, Schedule
from chunkflow.engine.run.events import CellDone, CellFailed, Decided, Ended, Event, Said, Started, Tick
from chunkflow.roles import Located
from chunkflow.words import in_words, plain

PLAIN_EVERY = 10.0
LIVE_EVERY = 0.5
MOST_TOLD = 6
"""Failures of a task that are shown while it runs."""


def last_error(traceback: str) -> str:
    """The line of a traceback that names the error, without the module of its class."""
    lines = traceback.strip().splitlines() or [""]
    named = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(: |$)", line)]
    kind, colon, said = (named or lines)[-1].partition(": ")
    return (kind.rpartition(".")[2] + colon + said)[:300]


@dataclass
class _Rate:
    """Cells of a step done in this run, and since when."""

    done: int = 0
    since: float = 0.0

    def per_second(self, now: float) -> float:
        return self.done / max(now - self.since, 1e-3) if self.done else 0.0


@dataclass
class Progress:
    """Listens, and shows how each task stands."""

    console: Console
    _plan: Plan | None = None
    _rates: dict[int, _Rate] = field(default_factory=dict)
    _told: Counter[str] = field(default_factory=Counter)
    _live: Live | None = None
    _shown: float = 0.0
    _begun: float = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, CellDone):
            step = self._stage_step(event.answer.stage)
            begun = time.monotonic() - sum(event.answer.seconds)
            rate = self._rates.setdefault(step, _Rate(since=begun))
            rate.done += 1
        elif isinstance(event, CellFailed):
            self._failed(event)
        elif isinstance(event, Decided):
            self._decided(event.stage, event.values)
        elif isinstance(event, Said):
            self.console.print(event.sentence, highlight=False, soft_wrap=True)
        elif isinstance(event, Tick):
            self._tick(event.schedule)
        elif isinstance(event, Ended):
            self._end(event)

    def _stage_step(self, stage: int) -> int:
        assert self._plan is not None
        return self._plan.stages[stage].step

    def _start(self, event: Started) -> None:
        self._plan, self._begun = event.plan, time.monotonic()
        total = int(event.schedule.counts.sum())
        resumed = f", {event.resumed:,} of them done before" if event.resumed else ""
        self.console.print(f"Job {event.plan.job.job}: {total:,} chunks{resumed}.", highlight=False)
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
        elif now - self._begun > 1:
            self.console.print(self._line(schedule, ended=False), highlight=False, soft_wrap=True)

    def _rows(self, schedule: Schedule) -> list[tuple[str, int, int, int, int, float]]:
        """For each step: name, cells, done, running, failed, cells a second."""
        assert self._plan is not None
        now = time.monotonic()
        rows = []
        for step in self._plan.steps:
            own = [i for i, stage in enumerate(self._plan.stages) if stage.step == step.index]
            counts = schedule.counts[own].sum(axis=0)
            rate = self._rates.get(step.index, _Rate()).per_second(now)
            rows.append(
                (
                    step.name,
                    int(counts.sum()),
                    int(counts[DONE]),
                    int(counts[LEASED]),
                    int(counts[FAILED]),
                    rate,
                )
            )
        return rows

    def table(self, schedule: Schedule) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("task", "", "done", "running", "failed", "rate", "left"):
            table.add_column(name, justify="left" if name in ("task", "") else "right")
        for name, cells, done, running, failed, rate in self._rows(schedule):
            left = in_words((cells - done) / rate) if rate and done < cells else ""
            table.add_row(
                name,
                ProgressBar(total=cells, completed=done, width=24),
                f"{done:,}/{cells:,}",
                f"{running:,}" if running else "",
                f"[red]{failed:,}[/red]" if failed else "",
                f"{rate:,.1f}/s" if rate else "",
                left,
            )
        return table

    def _line(self, schedule: Schedule, ended: bool) -> str:
        """The tasks that are being worked on; of a run that ended, all."""
        parts = [
            f"{name} {done:,}/{cells:,}" + (f" ({failed} failed)" if failed else "")
            for name, cells, done, running, failed, _ in self._rows(schedule)
            if ended or running or 0 < done < cells
        ]
        return f"{in_words(time.monotonic() - self._begun):>9}  " + ("  ".join(parts) or "waiting")

    def _failed(self, event: CellFailed) -> None:
        """The first few of each task: where one chunk fails, so may all, and `chunkflow failed` has them."""
        assert self._plan is not None
        answer = event.answer
        name = self._plan.stages[answer.stage].name
        self._told[name] += 1
        if self._told[name] > MOST_TOLD:
            return
        follows = "set aside" if event.final else "to be tried again"
        said = f"{name} chunk {answer.index}: {answer.cause}, {follows}: {last_error(answer.traceback)}"
        if self._told[name] == MOST_TOLD:
            said += f"\nFurther failures of {name}: chunkflow failed {plain(self._plan.work)}"
        self.console.print(said, highlight=False, markup=False, soft_wrap=True)

    def _decided(self, stage: str, values: Mapping[str, Any]) -> None:
        """What `prepare` chose for a parameter of the task, as a line for the job file of another brain."""
        assert self._plan is not None
        name = stage.removesuffix(".prepare")
        fields = next(type(s.task).model_fields for s in self._plan.steps if s.name == name)
        if warning := values.get("warning"):
            self.console.print(
                f"{name}: {warning.rstrip('.')}.", highlight=False, markup=False, soft_wrap=True
            )
        paths = {key for key, f in fields.items() if any(isinstance(m, Located) for m in f.metadata)}
        pasted = ", ".join(f"{key}: {value}" for key, value in values.items() if key in fields.keys() - paths)
        if pasted:
            self.console.print(
                f"{name} decided; to have the same elsewhere: {pasted}", highlight=False, soft_wrap=True
            )

    def _end(self, event: Ended) -> None:
        if self._live:
            self._live.stop()
            self.console.print(self.table(event.schedule))
            self.console.print(f"{event.status}, after {in_words(time.monotonic() - self._begun)}")
        else:
            self.console.print(self._line(event.schedule, ended=True), highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the terminal as it was, however the run ended."""
        if self._live:
            self._live.stop()
