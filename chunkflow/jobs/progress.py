"""Progress of a run by task, and sentences on what happens, from the events of its runner."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.queue.schedule import DONE, FAILED, LEASED, Schedule
from chunkflow.engine.run.events import CellDone, CellFailed, Decided, Event, Said, Started
from chunkflow.roles import Located
from chunkflow.words import plain

MOST_TOLD = 6
"""Failures of a task that are told while it runs."""


def last_error(traceback: str) -> str:
    """The line of a traceback that names the error, without the module of its class."""
    lines = traceback.strip().splitlines() or [""]
    named = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(: |$)", line)]
    kind, colon, said = (named or lines)[-1].partition(": ")
    return (kind.rpartition(".")[2] + colon + said)[:300]


@dataclass(frozen=True)
class TaskProgress:
    """Progress of one task: how many of its chunks are done, and how fast it goes on."""

    name: str
    chunks: int
    done: int
    running: int
    failed: int
    rate: float
    """Chunks a second in this run; 0 where none is done yet."""

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at this rate."""
        return (self.chunks - self.done) / self.rate if self.rate and self.done < self.chunks else None


class Progress:
    """A listener that keeps the rates of a run's tasks, and counts their failures."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.begun = 0.0
        """When the run began, by the clock of `time.monotonic`."""
        self._done: dict[int, int] = {}
        self._since: dict[int, float] = {}
        self._failures: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self.plan, self.begun = event.plan, time.monotonic()
        elif isinstance(event, CellDone):
            assert self.plan is not None
            step = self.plan.stages[event.answer.stage].step
            self._since.setdefault(step, time.monotonic() - sum(event.answer.seconds))
            self._done[step] = self._done.get(step, 0) + 1

    def tasks(self, schedule: Schedule) -> list[TaskProgress]:
        """The progress of each task, where all stands as the schedule says."""
        return [self._task(step.index, step.name, schedule) for step in self.plan.steps] if self.plan else []

    def _task(self, step: int, name: str, schedule: Schedule) -> TaskProgress:
        assert self.plan is not None
        own = [i for i, stage in enumerate(self.plan.stages) if stage.step == step]
        counts = schedule.counts[own].sum(axis=0)
        done = self._done.get(step, 0)
        rate = done / max(time.monotonic() - self._since[step], 1e-3) if done else 0.0
        return TaskProgress(
            name, int(counts.sum()), int(counts[DONE]), int(counts[LEASED]), int(counts[FAILED]), rate
        )

    def sentences(self, event: Event) -> Iterator[str]:
        """Sentences to tell of an event: failures, values that a task decided on, news of the workers."""
        if isinstance(event, Said):
            yield event.sentence
        elif isinstance(event, CellFailed):
            yield from self._of_failure(event)
        elif isinstance(event, Decided):
            yield from self._of_decision(event)

    def _of_failure(self, event: CellFailed) -> Iterator[str]:
        """The first few of each task: where one chunk fails, so may all, and `chunkflow failed` has them."""
        assert self.plan is not None
        name = self.plan.stages[event.answer.stage].name
        self._failures[name] += 1
        if self._failures[name] > MOST_TOLD:
            return
        follows = "set aside" if event.final else "to be tried again"
        error = last_error(event.answer.traceback)
        yield f"{name} chunk {event.answer.index}: {event.answer.cause}, {follows}: {error}"
        if self._failures[name] == MOST_TOLD:
            yield f"Further failures of {name}: chunkflow failed {plain(self.plan.work)}"

    def _of_decision(self, event: Decided) -> Iterator[str]:
        """The values that `prepare` chose for parameters, as a line for the job file of another brain."""
        assert self.plan is not None
        name = event.stage.removesuffix(".prepare")
        fields = next(type(step.task).model_fields for step in self.plan.steps if step.name == name)
        if warning := event.values.get("warning"):
            yield f"{name}: {warning.rstrip('.')}."
        paths = {key for key, f in fields.items() if any(isinstance(m, Located) for m in f.metadata)}
        chosen = [f"{key}: {value}" for key, value in event.values.items() if key in fields.keys() - paths]
        if chosen:
            yield f"{name} decided; to have the same elsewhere: {', '.join(chosen)}"
