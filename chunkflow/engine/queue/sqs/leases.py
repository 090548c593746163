"""A pool's side of a queue over SQS: it leases cells, answers, and gives back.

1. A thread for each kind of worker waits for messages while the pool asks for more than is here. What the
   pool has not begun after some seconds is sent back as smaller messages: others may do it sooner.
2. Messages that are here are kept from other pools for as long as they are worked on, by a thread that asks
   for that every third of their time. A pool that dies asks no more, and others get its messages.
3. Answers are gathered for up to a second. A message is deleted when all its cells are answered, and after
   the answers are sent: a pool that dies between the two has cells done twice, never not at all.
4. What is given back is sent as new messages first.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chunkflow.engine.queue.batcher import Batcher
from chunkflow.engine.queue.cells import Answer, Range
from chunkflow.engine.queue.sqs.client import Received
from chunkflow.engine.queue.sqs.messages import (
    MOST_ANSWERS,
    answer_messages,
    joined,
    read_work,
    singles,
    work_messages,
)
from chunkflow.engine.queue.sqs.queues import Queues, Timing

ASKED_SECONDS = 2.0
"""After which a pool that has not asked again wants nothing."""

NEVER = float("-inf")

CellKey = tuple[int, int]


@dataclass(eq=False)
class _Message:
    """A message that is this pool's."""

    handle: str
    kind: int
    until: float
    """When it is no longer, by this process's clock."""
    came: float
    left: dict[CellKey, Range] = field(default_factory=dict)
    """Its cells whose answers are not sent yet."""


@dataclass
class _Desk:
    """Leased cells and demand of one kind of worker."""

    offered: deque[tuple[Range, _Message]] = field(default_factory=deque)
    wanted: int = 0
    asked: float = NEVER
    holding: float = 1.0
    """Cells in a message, as they last came."""

    @property
    def cells(self) -> int:
        return sum(len(offered) for offered, _ in self.offered)

    @property
    def short(self) -> int:
        """How many cells more the pool could do with."""
        is_asking = time.monotonic() - self.asked < ASKED_SECONDS
        return max(self.wanted - self.cells, 0) if is_asking else 0


HeldCells = list[tuple[CellKey, list[_Message]]]
"""Cells, and the messages that hold them: more than one where SQS brought one twice."""


class Leases:
    """Leases and answers, for one run."""

    def __init__(self, queues: Queues, cells: Sequence[int], timing: Timing) -> None:
        self._queues, self._client = queues, queues.client
        self._cells, self._timing = cells, timing
        self._desks = [_Desk() for _ in queues.work]
        self._holders: dict[CellKey, list[_Message]] = {}  # of the cells that are here and have no answer
        self._held: set[_Message] = set()
        self._out: Batcher[tuple[Answer, list[_Message]]] = Batcher(self._send, timing.gather, MOST_ANSWERS)
        self._changed = threading.Condition(threading.RLock())
        self._closed = False
        self._error: BaseException | None = None
        self._threads: dict[int, threading.Thread] = {}

    def lease(self, most: int, kind: int) -> list[Range]:
        leased: list[Range] = []
        with self._changed:
            if self._error is not None:
                raise self._error
            self._begin(kind)
            desk = self._desks[kind]
            while desk.offered and most > 0:
                offered, message = desk.offered[0]
                if message.until < time.monotonic():  # this process was stopped, and others have it now
                    self._forget(message)
                    continue
                desk.offered.popleft()
                if len(offered) > most:
                    offered, rest = offered.split(most)
                    desk.offered.appendleft((rest, message))
                leased.append(offered)
                most -= len(offered)
            desk.wanted, desk.asked = most, time.monotonic()
            if most > 0:
                self._changed.notify_all()
        return leased

    def answer(self, answers: Sequence[Answer]) -> None:
        held = self._taken([(answer.stage, answer.index) for answer in answers])
        self._out.add([(answer, holders) for answer, (_, holders) in zip(answers, held, strict=True)])

    def give_back(self, ranges: Sequence[Range]) -> None:
        held = self._taken([(r.stage, index) for r in ranges for index in range(r.start, r.stop)])
        for kind, url in enumerate(self._queues.work):
            of_kind = [r for r in ranges if r.worker_kind == kind]
            if of_kind:
                self._client.send(url, work_messages(self._queues.run, joined(of_kind)))
        self._settle(held)

    def release(self) -> None:
        """Want no more until the pool asks again; what is here and that it has not leased goes back within
        about a second. SQS is asked by a thread, as a pool that drains must give signs of life meanwhile."""
        with self._changed:
            for desk in self._desks:
                desk.wanted, desk.asked = 0, NEVER

    def waiting(self, kind: int) -> tuple[int, float]:
        """Cells that are here and that the pool has not leased, and how many there are in a message."""
        with self._changed:
            return self._desks[kind].cells, self._desks[kind].holding

    def close(self) -> None:
        """Send all answers, give back all that is here, and wait for no more messages."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._out.close()
        with self._changed:
            for desk in self._desks:
                desk.offered.clear()
            left = [cell for message in self._held for cell in message.left.values()]
        self.give_back(left)

    def join(self) -> None:
        """After `close`: wait until no more messages can come."""
        for thread in self._threads.values():
            thread.join()

    def _begin(self, kind: int) -> None:
        if kind in self._threads or self._closed:
            return
        if not self._threads:
            threading.Thread(target=self._run, args=(self._keep,), name="leases", daemon=True).start()
        thread = threading.Thread(target=self._run, args=(self._receive, kind), name="work", daemon=True)
        self._threads[kind] = thread
        thread.start()

    def _run(self, work: Callable[..., None], *told: int) -> None:
        try:
            work(*told)
        except BaseException as error:  # the pool must hear of it
            self._error = error

    def _receive(self, kind: int) -> None:
        """Wait for messages whenever the pool asks for more than is here."""
        url, desk = self._queues.work[kind], self._desks[kind]
        while not self._closed:
            with self._changed:
                if not desk.short:
                    self._changed.wait(ASKED_SECONDS)
                    continue
                most = math.ceil(desk.short / desk.holding)
            visibility = self._timing.visibility
            until = time.monotonic() + visibility
            received = self._client.receive(url, most, self._timing.poll, visibility)
            if self._closed or desk.asked == NEVER:  # it drains, and what comes now is for others
                self._client.keep(url, [message.handle for message in received], 0)
                continue
            self._take_in(kind, received, until)

    def _take_in(self, kind: int, received: Sequence[Received], until: float) -> None:
        url, desk = self._queues.work[kind], self._desks[kind]
        ours = self._queues.sift(url, received, lambda body: read_work(body, self._cells, kind))
        if ours:
            desk.holding = sum(len(r) for _, work in ours for r in work.ranges) / len(ours)
        with self._changed:
            for handle, work in ours:
                message = _Message(handle, kind, until, time.monotonic())
                self._held.add(message)
                for offered in work.ranges:
                    desk.offered.extend((r, message) for r in joined(self._fresh(message, offered)))

    def _fresh(self, message: _Message, offered: Range) -> list[Range]:
        """Note the cells of a message; those that are not here already by another one."""
        fresh: list[Range] = []
        for cell in singles(offered):
            key = cell.stage, cell.start
            message.left[key] = cell
            holders = self._holders.setdefault(key, [])
            if not holders:
                fresh.append(cell)
            holders.append(message)
        return fresh

    def _keep(self) -> None:
        """Keep messages from other pools for as long as they are here, and let go what waits here."""
        visibility, begun = self._timing.visibility, time.monotonic()
        while not self._closed:
            with self._changed:
                self._changed.wait_for(lambda: self._closed, min(1.0, visibility / 3))
            self.give_back([r for desk in self._desks for r in self._waiting_long(desk)])
            if time.monotonic() - begun >= visibility / 3:
                begun = time.monotonic()
                self._extend(begun)

    def _waiting_long(self, desk: _Desk) -> list[Range]:
        """What this pool has not begun for seconds, or does not want: another one may do it sooner."""
        before = math.inf if desk.asked == NEVER else time.monotonic() - self._timing.held
        with self._changed:
            waiting = [offered for offered, message in desk.offered if message.came < before]
            desk.offered = deque(item for item in desk.offered if item[1].came >= before)
        return waiting

    def _extend(self, now: float) -> None:
        with self._changed:
            for message in [message for message in self._held if message.until < now]:
                self._forget(message)
            held = list(self._held)
        for kind, url in enumerate(self._queues.work):
            of_kind = [message for message in held if message.kind == kind]
            self._client.keep(url, [message.handle for message in of_kind], self._timing.visibility)
        for message in held:
            message.until = now + self._timing.visibility

    def _forget(self, message: _Message) -> None:
        """It is another pool's by now: what of it was not leased is not for this one, unless another message
        that is here holds it as well."""
        self._held.discard(message)
        desk = self._desks[message.kind]
        lapsed = [offered for offered, holder in desk.offered if holder is message]
        desk.offered = deque(item for item in desk.offered if item[1] is not message)
        for cell in message.left:
            holders = self._holders.get(cell, [])
            if message in holders:
                holders.remove(message)
            if not holders:
                self._holders.pop(cell, None)
        for waiting in (cell for offered in lapsed for cell in singles(offered)):
            if others := self._holders.get((waiting.stage, waiting.start)):
                desk.offered.append((waiting, others[0]))

    def _send(self, answered: list[tuple[Answer, list[_Message]]]) -> None:
        answers = [answer for answer, _ in answered]
        self._client.send(self._queues.answers, answer_messages(self._queues.run, answers))
        self._settle([((answer.stage, answer.index), holders) for answer, holders in answered])

    def _taken(self, cells: Sequence[CellKey]) -> HeldCells:
        """The messages that hold these cells, which from here on may come again and be done again."""
        with self._changed:
            return [(cell, self._holders.pop(cell, [])) for cell in cells]

    def _settle(self, held: HeldCells) -> None:
        """Answers are sent, or cells are in another message: delete the messages that have no others."""
        done: list[list[str]] = [[] for _ in self._queues.work]
        with self._changed:
            for cell, holders in held:
                for message in holders:
                    message.left.pop(cell, None)
                    if not message.left and message in self._held:
                        self._held.discard(message)
                        done[message.kind].append(message.handle)
        for url, handles in zip(self._queues.work, done, strict=True):
            self._client.acknowledge(url, handles)
