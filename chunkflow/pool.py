"""A pool: the workers of one cluster. It leases ranges, keeps the workers busy, and answers.

1. Ranges are leased as long as workers have room, and cut into batches: one cell where a cell takes long,
   many where they are quick, so that handing out never costs more than doing.
2. Every worker that is up has a few batches in hand, so that it can read the next while it maps this one.
3. A cell that must be tried alone goes to a worker that has nothing in hand; while there is none, one
   worker in two gets nothing new, and the others go on.
4. What a lost worker had in hand is answered as such; a new worker takes its place.
5. A worker that gives no word for the longer of `patience` seconds and 20 times the usual is ended.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from chunkflow.queue import NOWHERE, Answer, Cause, Place, Queue, Range

IN_HAND = 3
"""Batches a worker holds: one it reads for, one it maps, one it writes."""
BATCH_SECONDS = 0.25
LARGEST_BATCH = 64
PATIENCE = 600.0
PATIENCE_FACTOR = 20.0
REMEMBERED = 101
"""Cells of a stage whose seconds are remembered, to know what is usual."""


@dataclass(frozen=True)
class Up:
    """A worker has started, and can be given batches."""

    worker: str
    place: Place = NOWHERE
    ends: float | None = None
    """When its node must end (a walltime), by the clock on the wall; it begins nothing that takes longer."""


@dataclass(frozen=True)
class Leaving:
    """A worker's node is about to be taken away: it is given nothing new. What it maps it finishes, what it
    has not begun it answers as preempted; once it has nothing in hand it is ended."""

    worker: str
    why: str


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


Happening = Up | Leaving | Finished | Gone


class Executor(Protocol):
    """Where map runs; every executor passes tests/conformance."""

    def start_worker(self, kind: int = 0) -> str:
        """Begin to start one more worker of a kind and say its name; `wait` tells when it is up."""

    def submit(self, worker: str, batch: Range) -> None:
        """Let a worker do a batch, beside what it has in hand."""

    def wait(self, seconds: float) -> list[Happening]:
        """What happened; waits up to so long for the first. Raises what no other worker could do better."""

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
    is_up: bool = False
    since: float = 0.0
    """When the oldest of them was begun, or the worker last answered."""

    @property
    def has_room(self) -> bool:
        return self.is_up and len(self.batches) < IN_HAND and not any(batch.alone for batch in self.batches)


class Pool:
    """Keeps `size` workers of an executor busy with what a queue offers, in a thread of its own."""

    def __init__(self, queue: Queue, executor: Executor, size: int, patience: float = PATIENCE) -> None:
        self._queue, self._executor, self._size, self._patience = queue, executor, size, patience
        self._hands: dict[str, _Hand] = {}
        self._todo: deque[Range] = deque()
        self._suspects: deque[Range] = deque()  # cells to be tried alone
        self._waiting = 0  # cells in the two
        self._seconds: dict[int, deque[float]] = {}  # of the last cells of each stage
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
            self._give_back()
            return
        room = self._size * IN_HAND * LARGEST_BATCH // 2 - self._waiting
        if room > 0 and len(self._todo) < self._size * IN_HAND:
            for lease in self._queue.lease(room):
                self._waiting += len(lease)
                (self._suspects if lease.alone else self._todo).append(lease)

    def _give_back(self) -> None:
        ranges = [*self._todo, *self._suspects]
        self._todo.clear()
        self._suspects.clear()
        self._waiting = 0
        if ranges:
            self._answer_for(ranges, "", Cause.GIVEN_BACK, "")

    def _assign(self) -> None:
        """Give each worker with room the next batch, those with least in hand first."""
        while self._suspects:
            idle = [name for name, hand in self._hands.items() if hand.is_up and not hand.batches]
            if not idle:
                break
            self._submit(idle[0], self._next_batch(self._suspects, 1))
        kept_free = self._kept_free()
        while self._todo:
            free = [n for n, hand in self._hands.items() if hand.has_room and n not in kept_free]
            if not free:
                return
            worker = min(free, key=lambda name: len(self._hands[name].batches))
            self._submit(worker, self._next_batch(self._todo, self._batch_size(self._todo[0].stage)))

    def _kept_free(self) -> list[str]:
        """The workers that get nothing new, so that a suspect finds one with nothing in hand."""
        if not self._suspects:
            return []
        up = sorted((name for name, hand in self._hands.items() if hand.is_up), key=self._in_hand)
        return up[: min(len(self._suspects), -(-len(up) // 2))]

    def _in_hand(self, worker: str) -> int:
        return sum(len(batch) for batch in self._hands[worker].batches)

    def _submit(self, worker: str, batch: Range) -> None:
        hand = self._hands[worker]
        if not hand.batches:
            hand.since = time.monotonic()
        hand.batches.append(batch)
        self._executor.submit(worker, batch)

    def _batch_size(self, stage: int) -> int:
        """As many cells as take a quarter of a second, but no more than each worker's share."""
        share = -(-self._waiting // (self._size * IN_HAND))
        quick = int(BATCH_SECONDS / max(self._usual(stage, BATCH_SECONDS), 1e-4))
        return max(1, min(share, quick, LARGEST_BATCH))

    def _usual(self, stage: int, unknown: float = 0.0) -> float:
        """The seconds that a cell of this stage usually takes."""
        known = self._seconds.get(stage)
        return median(known) if known else unknown

    def _next_batch(self, ranges: deque[Range], count: int) -> Range:
        first = ranges.popleft()
        if len(first) > count:
            first, rest = first.split(count)
            ranges.appendleft(rest)
        self._waiting -= len(first)
        return first

    def _note(self, event: Happening) -> None:
        hand = self._hands.get(event.worker)
        if hand is None:
            return  # it was ended, and answered for
        if isinstance(event, Gone):
            self._lost(event.worker, event.cause, event.detail)
            return
        if isinstance(event, Up):
            hand.is_up = True
            return
        if isinstance(event, Leaving):
            return
        hand.batches.remove(event.batch)
        hand.since = time.monotonic()
        for answer in event.answers:
            known = self._seconds.setdefault(answer.stage, deque(maxlen=REMEMBERED))
            known.append(sum(answer.seconds))
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
            if now - hand.since < self._patience:
                continue
            usual = max(self._usual(batch.stage) * len(batch) for batch in hand.batches)
            limit = max(self._patience, PATIENCE_FACTOR * usual)
            if now - hand.since > limit:
                self._executor.end_worker(worker)
                self._lost(worker, Cause.SILENT, f"no word from the worker for {limit:.0f} s; it was ended")
