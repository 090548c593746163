"""The in-memory queue, between a runner and a pool of one process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from chunkflow.engine.queue.cells import Answer, Range


class MemoryQueue:
    """Queue in memory; runner and pools are threads of one process."""

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
