"""A pool: the workers of one cluster. It leases ranges, keeps the workers busy, and answers.

1. Ranges are leased as long as workers have room, and cut into batches: one cell where a cell takes long,
   many where they are quick, so that handing out never costs more than doing.
2. Every worker has a few batches in hand, so that it can read the next while it maps this one.
3. What a lost worker had in hand is answered as such; a new worker takes its place.
4. A worker that gives no word for the longer of `patience` seconds and 20 times the usual is ended.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chunkflow.queue import Answer, Cause, Queue, Range

IN_HAND = 3
"""Batches a worker holds: one it reads for, one it maps, one it writes."""
BATCH_SECONDS = 0.25
LARGEST_BATCH = 64
PATIENCE = 600.0
PATIENCE_FACTOR = 20.0


@dataclass(frozen=True)
class Finished:
    """A worker did a batch."""

    worker: str
    batch: Range
    answers: Sequence[Answer]


@dataclass(frozen=True)
class Gone:
    """A worker ended; what it had in hand has no answer."""

    worker: str
    cause: Cause
    detail: str


class Executor(Protocol):
    """Where map runs; every executor passes tests/conformance."""

    def start_worker(self) -> str:
        """Start one more worker and say its name."""

    def submit(self, worker: str, batch: Range) -> None:
        """Let a worker do a batch, beside what it has in hand."""

    def wait(self, seconds: float) -> list[Finished | Gone]:
        """What happened; waits up to so long for the first."""

    def end_worker(self, worker: str) -> None:
        """End a worker at once; nothing more is heard of it."""

    def heard(self) -> None:
        """Tell all workers that the runner lives and holds the work folder. May be called from any thread."""

    def close(self) -> None:
        """End all workers."""


@dataclass
class _Hand:
    """One worker and what it has in hand, in the order given."""

    batches: list[Range] = field(default_factory=list)
    since: float = 0.0
    """When the oldest of them was begun, or the worker last answered."""


class Pool:
    """Keeps `size` workers of an executor busy with what a queue offers, in a thread of its own."""

    def __init__(self, queue: Queue, executor: Executor, size: int, patience: float = PATIENCE) -> None:
        self._queue, self._executor, self._size, self._patience = queue, executor, size, patience
        self._hands: dict[str, _Hand] = {}
        self._todo: deque[Range] = deque()
        self._seconds: dict[int, float] = {}  # of one cell of each stage, a running mean
        self._draining = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pool", daemon=True)
        self.error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def heard(self) -> None:
        """The runner lives and holds the work folder."""
        self._executor.heard()

    def drain(self) -> None:
        """Take nothing new; what is not begun is given back, what is in hand is finished."""
        self._draining.set()

    def stop(self) -> None:
        """End all workers, whatever they do."""
        self._stopped.set()
        self._thread.join()
        self._executor.close()

    @property
    def draining(self) -> bool:
        return self._draining.is_set()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._staff()
                self._lease()
                self._assign()
                for event in self._executor.wait(0.05):
                    self._note(event)
                self._end_silent()
        except BaseException as error:  # the runner must hear of it, whatever it is
            self.error = error

    def _staff(self) -> None:
        while len(self._hands) < self._size and not self._draining.is_set():
            self._hands[self._executor.start_worker()] = _Hand()

    def _lease(self) -> None:
        if self._draining.is_set():
            self._give_back(list(self._todo))
            self._todo.clear()
            return
        room = self._size * IN_HAND * LARGEST_BATCH // 2 - sum(len(r) for r in self._todo)
        if room > 0 and len(self._todo) < self._size * IN_HAND:
            self._todo.extend(self._queue.lease(room))

    def _give_back(self, ranges: Sequence[Range]) -> None:
        self._answer_for(ranges, "", Cause.GIVEN_BACK, "")

    def _assign(self) -> None:
        """Give each worker with room the next batch, those with least in hand first."""
        while self._todo:
            free = [name for name, hand in self._hands.items() if len(hand.batches) < self._room(hand)]
            if not free:
                return
            worker = min(free, key=lambda name: len(self._hands[name].batches))
            hand = self._hands[worker]
            if self._todo[0].alone:
                idle = [name for name, other in self._hands.items() if not other.batches]
                if not idle:
                    return  # it waits until a worker has nothing else; the others may finish
                worker, hand = idle[0], self._hands[idle[0]]
            batch = self._next_batch()
            if not hand.batches:
                hand.since = time.monotonic()
            hand.batches.append(batch)
            self._executor.submit(worker, batch)

    @staticmethod
    def _room(hand: _Hand) -> int:
        return 0 if any(batch.alone for batch in hand.batches) else IN_HAND

    def _next_batch(self) -> Range:
        first = self._todo.popleft()
        waiting = len(first) + sum(len(r) for r in self._todo)
        share = -(-waiting // (self._size * IN_HAND))
        quick = int(BATCH_SECONDS / max(self._seconds.get(first.stage, BATCH_SECONDS), 1e-4))
        count = 1 if first.alone else max(1, min(share, quick, LARGEST_BATCH))
        if len(first) > count:
            middle = first.start + count
            self._todo.appendleft(Range(first.stage, middle, first.stop, first.skip, first.alone))
            first = Range(first.stage, first.start, middle, first.skip, first.alone)
        return first

    def _note(self, event: Finished | Gone) -> None:
        if isinstance(event, Gone):
            self._lost(event.worker, event.cause, event.detail)
            return
        hand = self._hands.get(event.worker)
        if hand is None:
            return  # it was ended, and answered for
        hand.batches.remove(event.batch)
        hand.since = time.monotonic()
        for answer in event.answers:
            took = sum(answer.seconds)
            usual = self._seconds.get(answer.stage, took)
            self._seconds[answer.stage] = usual + 0.2 * (took - usual)
        self._queue.answer(event.answers)

    def _lost(self, worker: str, cause: Cause, detail: str) -> None:
        hand = self._hands.pop(worker, None)
        if hand is not None:
            self._answer_for(hand.batches, worker, cause, detail)

    def _answer_for(self, batches: Sequence[Range], worker: str, cause: Cause, detail: str) -> None:
        """Answers for cells that have none. A cell was alone where nothing else was in hand."""
        alone = sum(len(batch) for batch in batches) == 1
        self._queue.answer(
            [
                Answer(batch.stage, index, worker, cause, alone, traceback=detail)
                for batch in batches
                for index in range(batch.start, batch.stop)
            ]
        )

    def _end_silent(self) -> None:
        now = time.monotonic()
        for worker, hand in list(self._hands.items()):
            if not hand.batches:
                continue
            usual = max(self._seconds.get(batch.stage, 0.0) * len(batch) for batch in hand.batches)
            limit = max(self._patience, PATIENCE_FACTOR * usual)
            if now - hand.since > limit:
                self._executor.end_worker(worker)
                self._lost(worker, Cause.SILENT, f"no word from the worker for {limit:.0f} s; it was ended")
