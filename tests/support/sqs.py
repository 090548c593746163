"""Queues over a stand-in for SQS, started once for all tests of a process and ended with it."""

from __future__ import annotations

import atexit
import secrets
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache

import pytest

from chunkflow.engine.queue.cells import Answer, Range
from chunkflow.engine.queue.sqs.client import SqsClient
from chunkflow.engine.queue.sqs.messages import RunKey
from chunkflow.engine.queue.sqs.queue import SqsQueue
from chunkflow.engine.queue.sqs.queues import Queues, Timing, make_queues
from testbed.moto import CREDENTIALS, moto_server

QUICK = Timing(visibility=2, poll=1, answers_poll=1, gather=0.05, look=0.1, lost=1.0)
FIRST, SECOND = RunKey(1, 1000.0), RunKey(2, 2000.0)
CELLS = (20_000,) * 4


@cache
def environment() -> dict[str, str]:
    """What lets a process find the stand-in."""
    server = ExitStack()
    address = server.enter_context(moto_server())
    atexit.register(server.close)
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": address}


def new_queue() -> str:
    return f"sqs://test-{secrets.token_hex(4)}"


def make(url: str, kinds: int = 1, work: str = "file:///work") -> SqsClient:
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment().items():
            patch.setenv(variable, value)
        return make_queues(url, kinds, work)


def sqs_queue(url: str, kinds: int = 1, run: RunKey = FIRST, timing: Timing = QUICK) -> SqsQueue:
    """One side, or both, of the queue of a run; each call makes a client of its own."""
    return SqsQueue(Queues(make(url, kinds), url, kinds, run), CELLS, timing)


class SqsPair:
    """A runner's queue and a pool's on the same messages. A lease waits until it has some, or until there
    are none: what SQS holds takes a moment to come, and a pool asks again and again."""

    def __init__(self, kinds: int = 1) -> None:
        url = new_queue()
        self.runner, self.pool = sqs_queue(url, kinds), sqs_queue(url, kinds)
        self._queues = Queues(make(url, kinds), url, kinds, FIRST)

    def put(self, ranges: Sequence[Range]) -> None:
        self.runner.put(ranges)

    def lease(self, most: int, worker_kind: int = 0) -> list[Range]:
        quiet = 0
        while quiet < 3:
            if leased := self.pool.lease(most, worker_kind):
                return leased
            on_its_way = self.runner._offers.unsent(worker_kind)
            quiet = 0 if on_its_way or self._queues.count_work(worker_kind).waiting else quiet + 1
            time.sleep(0.05)
        return []

    def give_back(self, ranges: Sequence[Range]) -> None:
        self.pool.give_back(ranges)

    def backlog(self) -> list[int]:
        here = [self.pool._leases.waiting(kind)[0] for kind in range(len(self._queues.work))]
        return [a + b for a, b in zip(self.runner.backlog(), here, strict=True)]

    def answer(self, answers: Sequence[Answer]) -> None:
        self.pool.answer(answers)

    def answers(self, wait: float) -> list[Answer]:
        return self.runner.answers(wait)

    def withdraw(self) -> list[Range]:
        """A runner that ends withdraws again and again, while pools that drain give back."""
        found: list[Range] = []
        self.pool.release()
        while any(self.pool._leases.waiting(kind)[0] for kind in range(len(self._queues.work))):
            time.sleep(0.05)
        for turn in range(200):
            found += self.runner.withdraw()
            if turn >= 10 and not any(self.backlog()):
                break
            time.sleep(0.05)
        return found


def leased(queue: SqsQueue, count: int, most: int = 1000) -> list[Range]:
    """So many cells, as soon as they come."""
    found: list[Range] = []
    for _ in range(600):
        found += queue.lease(most - sum(map(len, found)))
        if sum(map(len, found)) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"only {found} came")


def done(ranges: list[Range], worker: str = "w") -> list[Answer]:
    return [Answer(r.stage, i, worker) for r in ranges for i in range(r.start, r.stop)]


def heard(queue: SqsQueue, count: int) -> list[int]:
    """The cells of so many answers, as soon as they come."""
    found: list[int] = []
    for _ in range(100):
        found += [answer.index for answer in queue.answers(0.3)]
        if len(found) >= count:
            return sorted(found)
    raise AssertionError(f"only {found} came")


def nothing_left(url: str) -> bool:
    queues = Queues(make(url), url, 1, FIRST)
    count = queues.count_work(0)
    return count.waiting == count.in_flight == 0
