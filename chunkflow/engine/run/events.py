"""Typed events of a run; progress, report and metrics only listen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.queue.cells import Answer
from chunkflow.engine.queue.schedule import Schedule


@dataclass(frozen=True)
class Said:
    """A sentence for those who follow the run: where it runs, who may join it, what it cost."""

    sentence: str


@dataclass(frozen=True)
class Started:
    """The runner holds the ledger and begins, with what is done already in the schedule."""

    plan: Plan
    schedule: Schedule
    resumed: int


@dataclass(frozen=True)
class CellDone:
    """A cell is done and will be in the next segment of the ledger."""

    answer: Answer


@dataclass(frozen=True)
class CellAgain:
    """A cell that was done already was done once more; only the first time counts.

    So it is where the lease of its message ran out.
    """

    answer: Answer


@dataclass(frozen=True)
class CellFailed:
    """An attempt failed; `final` where the cell is set aside."""

    answer: Answer
    attempt: int
    final: bool


@dataclass(frozen=True)
class Decided:
    """A task's `prepare` has chosen its values."""

    stage: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Tick:
    """A moment passed; the schedule says where all stands."""

    schedule: Schedule


@dataclass(frozen=True)
class Ended:
    """The run is over."""

    status: str
    schedule: Schedule
    blocked: int


Event = Said | Started | CellDone | CellAgain | CellFailed | Decided | Tick | Ended
Listener = Callable[[Event], None]
