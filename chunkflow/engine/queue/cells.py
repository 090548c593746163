"""Ranges of cells, and answers with the causes of failures, as queues carry them."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from chunkflow.errors import BadInput, DamagedInput, StorageError


@dataclass(frozen=True, slots=True)
class Range:
    """Consecutive cells of one stage, handed out together."""

    stage: int
    start: int
    stop: int
    skip: bool = False
    """All that these cells read is empty: they are written and recorded empty, nothing is read."""
    alone: bool = False
    """To be tried on a worker that holds nothing else."""
    worker_kind: int = 0
    """Which of the plan's kinds of workers it is for."""

    def __len__(self) -> int:
        return self.stop - self.start

    def split(self, count: int) -> tuple[Range, Range]:
        """The first `count` cells, and the rest."""
        middle = self.start + count
        return replace(self, stop=middle), replace(self, start=middle)


class Cause(StrEnum):
    """Cause of a failed attempt."""

    PREEMPTED = "preempted"
    NODE_LOST = "node lost"
    STORAGE = "storage"
    DAMAGED = "damaged input"
    INPUT = "bad input"
    MEMORY = "out of memory"
    TIME = "out of time"
    CRASH = "crash"
    SILENT = "no word"
    BUG = "bug"
    GIVEN_BACK = "given back"


def cause_of(error: BaseException) -> Cause:
    """The cause that an exception in a worker stands for."""
    if isinstance(error, MemoryError):
        return Cause.MEMORY
    if isinstance(error, DamagedInput):
        return Cause.DAMAGED
    if isinstance(error, BadInput):
        return Cause.INPUT
    if isinstance(error, StorageError | ConnectionError | TimeoutError):
        return Cause.STORAGE
    if isinstance(error, OSError):
        return Cause.MEMORY if error.errno == errno.ENOMEM else Cause.STORAGE
    return Cause.BUG


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Node that a worker runs on."""

    node: str = ""
    device: str = ""
    """What the node is, as a price table names it; empty where nothing is paid for it."""
    since: float = 0.0
    """When the node was started, by the clock on the wall."""


NOWHERE = WorkerPlace()


@dataclass(frozen=True, slots=True)
class Answer:
    """Outcome of one attempt at a cell."""

    stage: int
    index: int
    worker: str
    cause: Cause | None = None
    """None: it is done, and written."""
    alone: bool = False
    empty: bool = False
    started: float = 0.0
    """When map began, or the cell where nothing was mapped."""
    seconds: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Spent reading, mapping, writing."""
    bytes_in: int = 0
    bytes_out: int = 0
    peak_bytes: int = 0
    """The most memory that the worker has taken so far."""
    traceback: str = ""
    values: dict[str, Any] | None = None
    """What `prepare` decided."""
    counts: dict[str, int] = field(default_factory=dict)
    """What `map` counted."""
    place: WorkerPlace = NOWHERE
    digest: int = 0
    """Of all files that were written, but for the parts, which carry their checksums."""
