"""A crew: the workers of one kind in a pool, what each has in hand, and what waits for one of them.

1. A worker with room is given a batch: those with least in hand first, and of these the one that was busy
   last, so that where little is to be done some are left with nothing and can be ended.
2. While workers have lately been started, the last few cells are left for them.
3. A worker whose node ends soon is given what it can do until then, the first that waits. One that can do
   nothing more is replaced, but stays where it is: else the next would be started on the same node.
4. A cell to be tried alone goes to a worker with nothing in hand; until there is one, at most half of the
   workers are kept from anything new.

A crew decides and counts; it starts, ends and asks nobody. Nothing that is done for every batch goes through
all workers.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence

from chunkflow.engine.pool.durations import Usual
from chunkflow.engine.pool.hand import IN_HAND, Hand
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
        self.hands: dict[str, Hand] = {}
        self.todo: deque[Range] = deque()
        self.suspects: deque[Range] = deque()
        self.waiting = 0
        """Cells that are leased and in no hand."""
        self.backlog = 0
        """Cells on the queue, as far as this pool knows."""
        self._with_room: list[dict[str, Hand]] = [{} for _ in range(IN_HAND + 1)]  # by their room
        self._kept: dict[str, Hand] = {}
        self._leaving: dict[str, Hand] = {}
        self._up = self._coming = self._in_hand = 0
        self._longest = 0.0  # that any worker had from its start to its node's end
        self._usual = Usual()

    def started(self, worker: str) -> None:
        self.hands[worker] = Hand(worker, time.monotonic())
        self._coming += 1

    def came_up(self, worker: str, ends: float | None) -> None:
        hand = self.hands[worker]
        hand.is_up, hand.ends, hand.since = True, ends, time.monotonic()
        if ends is not None:
            self._longest = max(self._longest, ends - time.time())
        self._up += 1
        self._coming = max(0, self._coming - 1)
        self._settle(hand)

    def leaves(self, worker: str, stays: bool = False) -> None:
        """It gets nothing new; somebody else may take its place."""
        hand = self._leaving[worker] = self.hands[worker]
        hand.is_leaving, hand.stays = True, stays
        self._kept.pop(worker, None)
        self._settle(hand)

    def too_long(self, worker: str) -> float:
        """The most seconds that any worker has, if this one spent nearly as many on what it maps; else 0."""
        hand = self.hands[worker]
        busy = time.monotonic() - hand.since if hand.batches and hand.ends is not None else 0.0
        return self._longest if busy > NEARLY * self._longest else 0.0

    def lost(self, worker: str) -> list[Range]:
        """A worker is there no more; what it had in hand."""
        hand = self.hands.pop(worker)
        self._up -= hand.is_up
        self._in_hand -= sum(len(batch) for batch in hand.batches)
        hand.is_up = False
        self._leaving.pop(worker, None)
        self._kept.pop(worker, None)
        self._settle(hand)
        return hand.batches

    def look_round(self, backlog: int) -> None:
        """What is too dear to be counted for every batch; to be called a few times a second."""
        self.backlog = backlog
        lately = time.monotonic() - COMING_SECONDS
        self._coming = sum(not hand.is_up and hand.since > lately for hand in self.hands.values())

    def missing(self, elastic: bool) -> int:
        """How many workers should be started."""
        vacant = self.size - len(self.hands) + len(self._leaving)
        if not elastic:
            return vacant
        cells, starting = self.waiting + self.backlog, len(self.hands) - self._up
        seconds = max(self._usual.lately(SOON), 1e-4)
        wanted = math.ceil((cells + self._in_hand) * seconds / SOON) - (len(self.hands) - len(self._leaving))
        return max(0, min(vacant, wanted, cells - len(self._with_room[IN_HAND]) - starting))

    def needless(self, idle_seconds: float) -> list[str]:
        """The workers that have had nothing in hand for so long, while nothing waits for them."""
        if self.waiting or self.backlog:
            return []
        before = time.monotonic() - idle_seconds
        return [name for name, hand in self.hands.items() if not hand.batches and hand.since < before]

    def departed(self) -> list[str]:
        """The workers that are to be ended, as they leave and have nothing in hand any more."""
        return [name for name, hand in self._leaving.items() if not hand.batches and not hand.stays]

    def silent(self, patience: float) -> dict[str, float]:
        """The workers that gave no word for too long, and what was too long for each."""
        now, found = time.monotonic(), {}
        for name, hand in self.hands.items():
            if not hand.batches or now - hand.since < patience:
                continue
            usual = max(self._usual.of(batch) * len(batch) for batch in hand.batches)
            limit = max(patience, PATIENCE_FACTOR * usual)
            if now - hand.since > limit:
                found[name] = limit
        return found

    def room(self) -> int:
        """About how many cells should be leased now."""
        idle = len(self._with_room[IN_HAND])
        slots = sum(room * len(hands) for room, hands in enumerate(self._with_room))
        quick = self._batch(self._usual.lately(BATCH_SECONDS))
        return (idle if self._leaves_some else slots) * quick - self.waiting

    def add(self, leases: Sequence[Range]) -> None:
        for lease in leases:
            self.waiting += len(lease)
            self.backlog = max(0, self.backlog - len(lease))
            (self.suspects if lease.alone else self.todo).append(lease)

    def assign(self) -> Iterator[tuple[str, Range]]:
        """Who is to be given what, now in hand; what nobody has room for is left waiting."""
        yield from self._try_alone()
        while self.todo and (hand := self._least_busy()) is not None:
            if hand.batches and self._leaves_some:
                return
            if count := self._next_for(hand):
                yield hand.worker, self._give(hand, self.todo, count)
            elif hand.batches:
                del self._with_room[hand.room][hand.worker]  # until it answers
            else:
                self.leaves(hand.worker, stays=True)

    def finished(self, worker: str, batch: Range, answers: Sequence[Answer]) -> None:
        hand = self.hands[worker]
        hand.batches.remove(batch)
        self._in_hand -= len(batch)
        hand.since = time.monotonic()
        for answer in answers:
            if answer.cause is None:
                self._usual.add(batch, sum(answer.seconds))
        self._settle(hand)

    def surplus(self) -> list[Range]:
        """What waits for too long, the last first; no longer waiting here."""
        left = HELD_SECONDS * self._up
        returned: list[Range] = []
        kept: deque[Range] = deque()
        for lease in self.todo:
            left -= self._usual.of(lease, BATCH_SECONDS) * len(lease)
            (kept if left >= 0 else returned).append(lease)
        self.todo = kept
        count = sum(len(lease) for lease in returned)
        self.waiting, self.backlog = self.waiting - count, self.backlog + count
        return returned

    def put_down(self) -> list[Range]:
        """All that is in no hand; no longer waiting here."""
        ranges = [*self.todo, *self.suspects]
        self.todo.clear()
        self.suspects.clear()
        self.waiting = 0
        return ranges

    @property
    def _leaves_some(self) -> bool:
        """Whether what waits is no more than what those who were lately started can begin with."""
        return self._coming >= max(self.waiting + self.backlog, 1)

    def _least_busy(self) -> Hand | None:
        for hands in reversed(self._with_room):
            if hands:
                return next(reversed(hands.values()))
        return None

    def _try_alone(self) -> Iterator[tuple[str, Range]]:
        """Keep as many workers as there are suspects from anything new, and give to those with nothing."""
        most = min(len(self.suspects), -(-self._up // 2))
        while len(self._kept) < most and (hand := self._least_busy()) is not None:
            self._keep(hand, True)
        for hand in list(self._kept.values()):
            if not self.suspects:
                self._keep(hand, False)
            elif not hand.batches and self._fitting(hand, self.suspects[0], 1):
                self._keep(hand, False)
                yield hand.worker, self._give(hand, self.suspects, 1)
            elif not hand.batches:
                self.leaves(hand.worker, stays=True)

    def _keep(self, hand: Hand, kept: bool) -> None:
        hand.is_kept = kept
        if kept:
            self._kept[hand.worker] = hand
        else:
            del self._kept[hand.worker]
        self._settle(hand)

    def _give(self, hand: Hand, ranges: deque[Range], count: int) -> Range:
        batch = ranges.popleft()
        if len(batch) > count:
            batch, rest = batch.split(count)
            ranges.appendleft(rest)
        self.waiting -= len(batch)
        self._in_hand += len(batch)
        if not hand.batches:
            hand.since = time.monotonic()
        hand.batches.append(batch)
        hand.is_fresh = False
        self._settle(hand)
        return batch

    def _next_for(self, hand: Hand) -> int:
        """Bring what a worker is to be given to the front, and say how many cells of that."""
        tried: set[tuple[int, bool]] = set()
        for place, lease in enumerate(self.todo):
            kind = lease.stage, lease.skip
            if kind not in tried and (count := self._fitting(hand, lease, self._share(lease))):
                del self.todo[place]
                self.todo.appendleft(lease)
                return count
            tried.add(kind)
        return 0

    def _share(self, lease: Range) -> int:
        """Cells of a lease for one batch: no more than its share of what there is room for."""
        slots = sum(room * len(hands) for room, hands in enumerate(self._with_room))
        return min(self._batch(self._usual.of(lease, BATCH_SECONDS)), -(-self.waiting // slots))

    @staticmethod
    def _batch(seconds: float) -> int:
        """As many cells as take a quarter of a second."""
        return max(1, min(int(BATCH_SECONDS / max(seconds, 1e-4)), LARGEST_BATCH))

    def _fitting(self, hand: Hand, lease: Range, count: int) -> int:
        """How many of so many cells a worker can do before its node ends. One that is new needs no margin:
        no node may last longer."""
        if hand.ends is None:
            return count
        margin = 1.0 if hand.is_fresh else ENDS_MARGIN
        left = hand.ends - time.time()
        left -= margin * sum(self._usual.of(batch) * len(batch) for batch in hand.batches)
        if usual := self._usual.of(lease):
            return min(count, max(0, int(left / (margin * usual))))
        return count if left >= min(UNKNOWN_LEFT, NEARLY * self._longest) else 0

    def _settle(self, hand: Hand) -> None:
        """File a worker by its room, where there is any."""
        for hands in self._with_room:
            hands.pop(hand.worker, None)
        if room := hand.room:
            self._with_room[room][hand.worker] = hand
