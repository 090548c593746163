"""The queue between runner and pools: ranges of cells that are ready, and their answers coming back.

A queue is disposable: what it loses, the runner puts again, as only the ledger is the truth.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol


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
    """Why an attempt did not end well."""

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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker runs."""

    node: str = ""
    device: str = ""
    """What the node is, as a price table names it; empty where nothing is paid for it."""
    since: float = 0.0
    """When the node was started, by the clock on the wall."""


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one cell."""

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
    place: Place = NOWHERE


class Queue(Protocol):
    """What a runner and its pools need of a queue; every queue passes tests/conformance."""

    def put(self, ranges: Sequence[Range]) -> None:
        """Offer ranges to the pools."""

    def lease(self, most: int, worker_kind: int = 0) -> list[Range]:
        """Take ranges of up to about `most` cells for workers of one kind (at least one range, if there is
        any); never waits."""

    def give_back(self, ranges: Sequence[Range]) -> None:
        """Return leased cells that were not begun: other pools may lease them, or they are withdrawn."""

    def backlog(self) -> list[int]:
        """About how many cells no pool has leased yet, by kind of worker. It is asked often: where asking is
        dear, what was heard within a second and what was put since will do."""

    def answer(self, answers: Sequence[Answer]) -> None:
        """Say what became of leased cells."""

    def answers(self, wait: float) -> list[Answer]:
        """All answers so far; waits up to `wait` seconds for the first."""

    def withdraw(self) -> list[Range]:
        """Take back what no pool has leased yet."""


class MemoryQueue:
    """The queue within one process."""

    def __init__(self, worker_kinds: int = 1) -> None:
        self._ranges: list[deque[Range]] = [deque() for _ in range(worker_kinds)]
        self._cells = [0] * worker_kinds
        self._answers: list[Answer] = []
        self._changed = threading.Condition()

    def put(self, ranges: Sequence[Range]) -> None:
        with self._changed:
            for offered in ranges:
                self._ranges[offered.worker_kind].append(offered)
                self._cells[offered.worker_kind] += len(offered)

    def lease(self, most: int, worker_kind: int = 0) -> list[Range]:
        leased: list[Range] = []
        with self._changed:
            waiting = self._ranges[worker_kind]
            while waiting and most > 0:
                offered = waiting.popleft()
                if len(offered) > most:
                    offered, rest = offered.split(most)
                    waiting.appendleft(rest)
                leased.append(offered)
                most -= len(offered)
                self._cells[worker_kind] -= len(offered)
        return leased

    def give_back(self, ranges: Sequence[Range]) -> None:
        with self._changed:
            for returned in reversed(ranges):
                self._ranges[returned.worker_kind].appendleft(returned)
                self._cells[returned.worker_kind] += len(returned)

    def backlog(self) -> list[int]:
        with self._changed:
            return list(self._cells)

    def answer(self, answers: Sequence[Answer]) -> None:
        with self._changed:
            self._answers.extend(answers)
            self._changed.notify_all()

    def answers(self, wait: float) -> list[Answer]:
        with self._changed:
            if not self._answers:
                self._changed.wait(wait)
            found, self._answers = self._answers, []
            return found

    def withdraw(self) -> list[Range]:
        with self._changed:
            left = [waiting for ranges in self._ranges for waiting in ranges]
            for ranges in self._ranges:
                ranges.clear()
            self._cells = [0] * len(self._ranges)
            return left
