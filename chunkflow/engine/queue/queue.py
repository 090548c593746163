"""The queue between runner and pools: ranges of ready cells go out, their answers come back.

A queue is disposable: what it loses, the runner puts again, as only the ledger is the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chunkflow.engine.queue.cells import Answer, Range


class Queue(Protocol):
    """Queue as a runner and its pools use it; every queue passes the conformance suite."""

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
