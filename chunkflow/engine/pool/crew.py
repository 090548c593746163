"""Crew: the workers of one kind in a pool, their batches in flight, and what waits for them.

1. A worker with room is given a batch: those with least in flight first, and of these the one that was busy
   last, so that where little is to be done some are left with nothing and can be ended.
2. While workers have lately been started, the last few cells are left for them.
3. A worker whose node ends soon is given what it can do until then, the first that waits. One that can do
   nothing more is replaced, but stays where it is: else the next would be started on the same node.
4. A cell to be tried alone goes to a worker with nothing in flight; until there is one, at most half of the
   workers are kept from anything new.

A crew decides and counts; it starts, ends and asks nobody. Nothing that is done for every batch goes through
all workers.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence

from chunkflow.engine.pool.durations import Durations
from chunkflow.engine.pool.slots import IN_FLIGHT, Slots
from chunkflow.engine.queue.cells import Answer, Range

BATCH_SECONDS = 0.25
LARGEST_BATCH = 64
HELD_SECONDS = 1.0
"""What is leased and would wait for longer than this is given back, as another pool may do it sooner."""
SOON = 0.5
"""What waits is to be begun within so many seconds, else more workers are started."""
ENDS_MARGIN = 2.0
"""A batch is given if it would end in time even if it took so many times as long as usual."""
UNKNOWN_LEFT = 60.0
"""Seconds that a worker must have left for what nobody knows the seconds of, where any ever has so many."""
PATIENCE_FACTOR = 20.0
NEARLY = 0.8
"""What was cut off after this share of the longest time that any worker had would hardly end on another."""
COMING_SECONDS = 30.0
"""How long something is left for a worker that has been started."""


class Crew:
    """Up to `size` workers of one kind."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.workers: dict[str, Slots] = {}
        self.todo: deque[Range] = deque()
        self.suspects: deque[Range] = deque()
        self.waiting = 0
        """Cells that are leased and in flight on no worker."""
        self.backlog = 0
        """Cells on the queue, as far as this pool knows."""
        self._with_room: list[dict[str, Slots]] = [{} for _ in range(IN_FLIGHT + 1)]  # by their room
        self._kept: dict[str, Slots] = {}
        self._leaving: dict[str, Slots] = {}
        self._up = self._coming = self._in_flight = 0
        self._longest = 0.0  # that any worker had from its start to its node's end
        self._durations = Durations()

    def started(self, worker: str) -> None:
        self.workers[worker] = Slots(worker, time.monotonic())
        self._coming += 1

    def came_up(self, worker: str, ends: float | None) -> None:
        slots = self.workers[worker]
        slots.is_up, slots.ends, slots.since = True, ends, time.monotonic()
        if ends is not None:
            self._longest = max(self._longest, ends - time.time())
        self._up += 1
        self._coming = max(0, self._coming - 1)
        self._settle(slots)

    def leaves(self, worker: str, stays: bool = False) -> None:
        """It gets nothing new; somebody else may take its place."""
        slots = self._leaving[worker] = self.workers[worker]
        slots.is_leaving, slots.stays = True, stays
        self._kept.pop(worker, None)
        self._settle(slots)

    def too_long(self, worker: str) -> float:
        """The most seconds that any worker has, if this one spent nearly as many on what it maps; else 0."""
        slots = self.workers[worker]
        busy = time.monotonic() - slots.since if slots.batches and slots.ends is not None else 0.0
        return self._longest if busy > NEARLY * self._longest else 0.0

    def lost(self, worker: str) -> list[Range]:
        """Forget a worker that is there no more; returns what it had in flight."""
        slots = self.workers.pop(worker)
        self._up -= slots.is_up
        self._in_flight -= sum(len(batch) for batch in slots.batches)
        slots.is_up = False
        self._leaving.pop(worker, None)
        self._kept.pop(worker, None)
        self._settle(slots)
        return slots.batches

    def look_round(self, backlog: int) -> None:
        """Count what is too dear to be counted for every batch; to be called a few times a second."""
        self.backlog = backlog
        lately = time.monotonic() - COMING_SECONDS
        self._coming = sum(not slots.is_up and slots.since > lately for slots in self.workers.values())

    def missing(self, elastic: bool) -> int:
        """How many workers should be started."""
        staying = len(self.workers) - len(self._leaving)
        vacant = self.size - staying
        if not elastic:
            return vacant
        cells, starting = self.waiting + self.backlog, len(self.workers) - self._up
        seconds = max(self._durations.lately(SOON), 1e-4)
        wanted = math.ceil((cells + self._in_flight) * seconds / SOON) - (
            len(self.workers) - len(self._leaving)
        )
        return max(0, min(vacant, wanted, cells - len(self._with_room[IN_FLIGHT]) - starting))

    def needless(self, idle_seconds: float) -> list[str]:
        """The workers that have had nothing in flight for so long, while nothing waits for them."""
        if self.waiting or self.backlog:
            return []
        before = time.monotonic() - idle_seconds
        return [name for name, slots in self.workers.items() if not slots.batches and slots.since < before]

    def departed(self) -> list[str]:
        """The workers that are to be ended, as they leave and have nothing in flight any more."""
        return [name for name, slots in self._leaving.items() if not slots.batches and not slots.stays]

    def silent(self, patience: float) -> dict[str, float]:
        """The workers that answered nothing for too long, and the limit that each exceeded."""
        now, found = time.monotonic(), {}
        for name, slots in self.workers.items():
            if not slots.batches or now - slots.since < patience:
                continue
            expected = max(self._durations.of(batch) * len(batch) for batch in slots.batches)
            limit = max(patience, PATIENCE_FACTOR * expected)
            if now - slots.since > limit:
                found[name] = limit
        return found

    def room(self) -> int:
        """About how many cells should be leased now."""
        idle = len(self._with_room[IN_FLIGHT])
        free = sum(room * len(workers) for room, workers in enumerate(self._with_room))
        quick = self._batch(self._durations.lately(BATCH_SECONDS))
        return (idle if self._leaves_some else free) * quick - self.waiting

    def add(self, leases: Sequence[Range]) -> None:
        for lease in leases:
            self.waiting += len(lease)
            self.backlog = max(0, self.backlog - len(lease))
            (self.suspects if lease.alone else self.todo).append(lease)

    def assign(self) -> Iterator[tuple[str, Range]]:
        """The batches to submit, now in flight, each with its worker; what no worker has room for is left."""
        yield from self._try_alone()
        while self.todo and (slots := self._least_busy()) is not None:
            if slots.batches and self._leaves_some:
                return
            if count := self._next_for(slots):
                yield slots.worker, self._give(slots, self.todo, count)
            elif slots.batches:
                del self._with_room[slots.room][slots.worker]  # until it answers
            else:
                self.leaves(slots.worker, stays=True)

    def finished(self, worker: str, batch: Range, answers: Sequence[Answer]) -> None:
        slots = self.workers[worker]
        slots.batches.remove(batch)
        self._in_flight -= len(batch)
        slots.since = time.monotonic()
        for answer in answers:
            if answer.cause is None:
                self._durations.add(batch, sum(answer.seconds))
        self._settle(slots)

    def surplus(self) -> list[Range]:
        """The leases that would wait too long, the last first; no longer waiting here."""
        left = HELD_SECONDS * self._up
        returned: list[Range] = []
        kept: deque[Range] = deque()
        for lease in self.todo:
            left -= self._durations.of(lease, BATCH_SECONDS) * len(lease)
            (kept if left >= 0 else returned).append(lease)
        self.todo = kept
        count = sum(len(lease) for lease in returned)
        self.waiting, self.backlog = self.waiting - count, self.backlog + count
        return returned

    def put_down(self) -> list[Range]:
        """All that is not in flight; no longer waiting here."""
        ranges = [*self.todo, *self.suspects]
        self.todo.clear()
        self.suspects.clear()
        self.waiting = 0
        return ranges

    @property
    def _leaves_some(self) -> bool:
        """Whether what waits is no more than what those who were lately started can begin with."""
        return self._coming >= max(self.waiting + self.backlog, 1)

    def _least_busy(self) -> Slots | None:
        for workers in reversed(self._with_room):
            if workers:
                return next(reversed(workers.values()))
        return None

    def _try_alone(self) -> Iterator[tuple[str, Range]]:
        """Keep as many workers as there are suspects from anything new, and give to those with nothing."""
        most = min(len(self.suspects), -(-self._up // 2))
        while len(self._kept) < most and (slots := self._least_busy()) is not None:
            self._keep(slots, True)
        for slots in list(self._kept.values()):
            if not self.suspects:
                self._keep(slots, False)
            elif not slots.batches and self._fitting(slots, self.suspects[0], 1):
                self._keep(slots, False)
                yield slots.worker, self._give(slots, self.suspects, 1)
            elif not slots.batches:
                self.leaves(slots.worker, stays=True)

    def _keep(self, slots: Slots, kept: bool) -> None:
        slots.is_kept = kept
        if kept:
            self._kept[slots.worker] = slots
        else:
            del self._kept[slots.worker]
        self._settle(slots)

    def _give(self, slots: Slots, ranges: deque[Range], count: int) -> Range:
        batch = ranges.popleft()
        if len(batch) > count:
            batch, rest = batch.split(count)
            ranges.appendleft(rest)
        self.waiting -= len(batch)
        self._in_flight += len(batch)
        if not slots.batches:
            slots.since = time.monotonic()
        slots.batches.append(batch)
        slots.is_fresh = False
        self._settle(slots)
        return batch

    def _next_for(self, slots: Slots) -> int:
        """Bring what a worker is to be given to the front, and say how many cells of that."""
        tried: set[tuple[int, bool]] = set()
        for place, lease in enumerate(self.todo):
            kind = lease.stage, lease.skip
            if kind not in tried and (count := self._fitting(slots, lease, self._share(lease))):
                del self.todo[place]
                self.todo.appendleft(lease)
                return count
            tried.add(kind)
        return 0

    def _share(self, lease: Range) -> int:
        """Cells of a lease for one batch: no more than its share of what there is room for."""
        free = sum(room * len(workers) for room, workers in enumerate(self._with_room))
        return min(self._batch(self._durations.of(lease, BATCH_SECONDS)), -(-self.waiting // free))

    @staticmethod
    def _batch(seconds: float) -> int:
        """As many cells as take a quarter of a second."""
        return max(1, min(int(BATCH_SECONDS / max(seconds, 1e-4)), LARGEST_BATCH))

    def _fitting(self, slots: Slots, lease: Range, count: int) -> int:
        """How many of so many cells a worker can do before its node ends. One that is new needs no margin:
        no node may last longer."""
        if slots.ends is None:
            return count
        margin = 1.0 if slots.is_fresh else ENDS_MARGIN
        left = slots.ends - time.time()
        left -= margin * sum(self._durations.of(batch) * len(batch) for batch in slots.batches)
        if seconds := self._durations.of(lease):
            return min(count, max(0, int(left / (margin * seconds))))
        return count if left >= min(UNKNOWN_LEFT, NEARLY * self._longest) else 0

    def _settle(self, slots: Slots) -> None:
        """File a worker by its room, where there is any."""
        for workers in self._with_room:
            workers.pop(slots.worker, None)
        if room := slots.room:
            self._with_room[room][slots.worker] = slots
