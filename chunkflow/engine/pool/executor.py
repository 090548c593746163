"""Protocol of an executor, which runs batches on workers, and the events that it reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chunkflow.engine.queue.cells import Answer, Cause, Range


@dataclass(frozen=True)
class Up:
    """A worker has started, and can be given batches."""

    worker: str
    ends: float | None = None
    """When its node must end (a walltime), by the clock on the wall; it begins nothing that takes longer."""


@dataclass(frozen=True)
class Leaving:
    """A worker's node is about to be taken away, so it is given nothing new.

    What it maps it finishes, what it has not begun it answers as preempted; once it has nothing in flight it
    is ended.
    """

    worker: str


@dataclass(frozen=True)
class BatchDone:
    """A worker did a batch."""

    worker: str
    batch: Range
    answers: Sequence[Answer]


@dataclass(frozen=True)
class Gone:
    """A worker ended; what it had in flight has no answer."""

    worker: str
    cause: Cause
    detail: str


Happening = Up | Leaving | BatchDone | Gone


class Executor(Protocol):
    """Executor of batches on workers; every executor passes the conformance suite."""

    def start_worker(self, kind: int = 0) -> str:
        """Begin to start one more worker of a kind and say its name; `wait` tells when it is up."""

    def submit(self, worker: str, batch: Range) -> None:
        """Let a worker do a batch, beside what it has in flight."""

    def wait(self, seconds: float) -> list[Happening]:
        """The events so far; waits up to so long for the first. Raises an error that is no worker's own."""

    def end_worker(self, worker: str) -> None:
        """End a worker at once, also one that is not up yet; nothing more is heard of it."""

    def heartbeat(self) -> None:
        """Tell all workers that the runner lives and holds the work folder. May be called from any thread."""

    def close(self) -> None:
        """End all workers."""
