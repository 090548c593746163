"""The queue over Amazon SQS: one runner, and pools on several clusters that come and go.

The runner's side is in sqs_offers.py, the pools' in sqs_leases.py, what they say in sqs_messages.py. SQS may
bring a message twice, late or never, and it is disposable as every queue is: the runner hears an answer once,
and puts again what was lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from chunkflow.engine.queue.cells import Answer, Range
from chunkflow.engine.queue.sqs.client import OPENING_PATIENCE, RUNNING_PATIENCE
from chunkflow.engine.queue.sqs.leases import Leases
from chunkflow.engine.queue.sqs.offers import Offers
from chunkflow.engine.queue.sqs.queues import USUAL, Queues, Timing
from chunkflow.errors import ChunkflowError, StorageError


@dataclass
class _Depth:
    """How long the queue of one kind was when it was last looked at."""

    cells: float = 0.0
    put: int = 0
    """Cells put since."""


class SqsQueue:
    """Both sides of the queue, for one run; each begins when it is first used."""

    def __init__(self, queues: Queues, cells: Sequence[int], timing: Timing = USUAL) -> None:
        """For a plan whose stages have so many cells."""
        self._queues, self._timing = queues, timing
        queues.client.patience = RUNNING_PATIENCE
        self._offers = Offers(queues, cells, timing)
        self._leases = Leases(queues, cells, timing)
        self._depths = [_Depth() for _ in queues.work]
        self._looker: threading.Thread | None = None
        self._withdrawer: threading.Thread | None = None
        self._withdrawing = False
        self._sweeping = threading.Lock()
        """Held while what SQS holds is taken back, and while it is said that this is to end."""
        self._asked = 0.0
        self._closed = threading.Event()

    def put(self, ranges: Sequence[Range]) -> None:
        """Whoever puts goes on: what is put after a withdrawal is for the pools."""
        if self._withdrawing:
            with self._sweeping:
                self._withdrawing = False
        for offered in ranges:
            self._depths[offered.worker_kind].put += len(offered)
        self._offers.put(ranges)

    def lease(self, most: int, worker_kind: int = 0) -> list[Range]:
        return self._leases.lease(most, worker_kind)

    def give_back(self, ranges: Sequence[Range]) -> None:
        self._leases.give_back(ranges)

    def backlog(self) -> list[int]:
        """As SQS said a moment ago, with what was put since and what is here."""
        self._asked = time.monotonic()
        if self._looker is None:
            self._looker = threading.Thread(target=self._look, name="backlog", daemon=True)
            self._looker.start()
        here = [self._leases.waiting(kind)[0] for kind in range(len(self._depths))]
        return [
            round(depth.cells) + depth.put + cells for depth, cells in zip(self._depths, here, strict=True)
        ]

    def _look(self) -> None:
        """Ask SQS how long its queues are, for as long as somebody asks."""
        while not self._closed.wait(self._timing.look):
            if time.monotonic() - self._asked > 2 * self._timing.look:
                continue
            for kind, depth in enumerate(self._depths):
                put = self._offers.unsent(kind)
                try:
                    waiting = self._queues.count_work(kind).waiting
                except ChunkflowError:  # whoever puts or leases hears of it
                    continue
                holding = self._offers.holding[kind] or self._leases.waiting(kind)[1]
                depth.cells, depth.put = waiting * holding, put

    def answer(self, answers: Sequence[Answer]) -> None:
        self._leases.answer(answers)

    def answers(self, wait: float) -> list[Answer]:
        return self._offers.answers(wait)

    def withdraw(self) -> list[Range]:
        """What no other pool has received yet, as far as it was taken back by now: SQS is asked by a thread,
        as whoever withdraws must give signs of life meanwhile."""
        self._withdrawing = True
        if self._withdrawer is None:
            self._withdrawer = threading.Thread(target=self._take_back, name="withdrawn", daemon=True)
            self._withdrawer.start()
        return self._offers.withdrawn()

    def _take_back(self) -> None:
        """Again and again, as pools that drain give back."""
        while not self._closed.is_set():
            with self._sweeping, suppress(ChunkflowError):  # tried again, until the runner has waited enough
                if self._withdrawing:
                    self.release()
                    self._offers.sweep()
            self._closed.wait(self._timing.look)

    def release(self) -> None:
        """Let go what is here and that this pool has not leased; it goes back within about a second."""
        self._leases.release()

    def close(self) -> None:
        """Send what is to be sent, give back what this pool has not answered, and end."""
        self._closed.set()
        self._queues.client.patience = OPENING_PATIENCE
        self._offers.close()
        with suppress(StorageError):  # what cannot be given back now comes back by itself
            self._leases.close()

    def join(self) -> None:
        """After `close`, and before the process ends: wait until no message can come here any more. What came
        to a process that is gone would be nobody's for a while, and a next run would wait for it."""
        self._leases.join()
        self._offers.join()
        if self._withdrawer is not None:
            self._withdrawer.join()
