"""What every queue must do; a further queue is one more parameter."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from chunkflow.engine.queue.cells import Answer, Cause, Range, WorkerPlace
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.queue.queue import Queue
from tests.support.same import ShufflingQueue
from tests.support.sqs import SqsPair

KINDS = 3
QUEUES: dict[str, Callable[[int], Queue]] = {
    "memory": MemoryQueue,
    "shuffling": ShufflingQueue,
    "sqs": SqsPair,
}
"""Each makes a queue for so many kinds of workers."""


@pytest.fixture(params=QUEUES)
def queue(request: pytest.FixtureRequest) -> Queue:
    return QUEUES[request.param](KINDS)


def cells(ranges: list[Range]) -> list[tuple[int, int, bool, bool]]:
    return sorted((r.stage, cell, r.skip, r.alone) for r in ranges for cell in range(r.start, r.stop))


def lease_all(queue: Queue, most: int = 7) -> list[Range]:
    leased: list[Range] = []
    while found := queue.lease(most):
        leased += found
    return leased


def answers_of(queue: Queue, count: int) -> list[Answer]:
    found: list[Answer] = []
    for _ in range(100):
        found += queue.answers(0.2)
        if len(found) >= count:
            break
    return found


def test_an_empty_queue_has_nothing_and_does_not_wait(queue: Queue) -> None:
    assert queue.lease(10) == []
    assert queue.answers(0.0) == []
    assert queue.withdraw() == []
    assert queue.backlog() == [0] * KINDS


def test_every_cell_is_leased_once_with_what_is_said_of_it(queue: Queue) -> None:
    offered = [Range(0, 0, 100), Range(1, 5, 6, alone=True), Range(2, 3, 30, skip=True), Range(0, 200, 201)]
    queue.put(offered[:2])
    queue.put(offered[2:])
    assert cells(lease_all(queue)) == cells(offered)
    assert queue.lease(1) == []


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_a_lease_is_about_as_large_as_asked_and_never_empty_while_there_is_work(
    queue: Queue, most: int
) -> None:
    queue.put([Range(0, 0, 50)])
    left = 50
    while left:
        leased = queue.lease(most)
        count = sum(map(len, leased))
        assert 0 < count <= max(most, 50)
        left -= count


def test_what_is_withdrawn_is_not_leased(queue: Queue) -> None:
    queue.put([Range(0, 0, 10)])
    leased = queue.lease(4)
    withdrawn = queue.withdraw()
    assert cells(leased + withdrawn) == cells([Range(0, 0, 10)])
    assert queue.lease(10) == []
    queue.put([Range(1, 0, 2)])
    assert cells(lease_all(queue)) == cells([Range(1, 0, 2)])


def eventually_lies(queue: Queue, backlog: list[int]) -> None:
    """A queue need not know at once how much lies on it."""
    for _ in range(100):
        if queue.backlog() == backlog:
            return
        time.sleep(0.1)
    raise AssertionError(f"{queue.backlog()} lies there, not {backlog}")


def test_each_kind_of_worker_is_given_its_own(queue: Queue) -> None:
    plain, gpu = Range(0, 0, 10), Range(1, 3, 8, skip=True, worker_kind=2)
    queue.put([plain, gpu])
    eventually_lies(queue, [10, 0, 5])
    assert queue.lease(10, 1) == []
    leased = queue.lease(100, 2)
    assert cells(leased) == cells([gpu])
    assert {r.worker_kind for r in leased} == {2}
    assert queue.lease(10, 2) == []
    eventually_lies(queue, [10, 0, 0])
    assert cells(lease_all(queue)) == cells([plain])


def test_what_is_given_back_is_leased_again_or_withdrawn(queue: Queue) -> None:
    offered = [Range(0, 0, 10), Range(1, 7, 8, alone=True, worker_kind=1)]
    queue.put(offered)
    plain, other = lease_all(queue, 100), queue.lease(100, 1)
    assert cells(plain + other) == cells(offered)
    queue.give_back([r.split(len(r) // 2)[1] for r in plain])
    queue.give_back(other)
    again = lease_all(queue) + queue.lease(100, 1)
    assert cells(again) == cells([r.split(len(r) // 2)[1] for r in plain] + other)
    assert [r.worker_kind for r in again if r.alone] == [1]
    queue.give_back(again)
    eventually_lies(queue, [sum(len(r) for r in again) - 1, 1, 0])
    assert cells(queue.withdraw()) == cells(again)
    assert queue.lease(10) == queue.lease(10, 1) == []


def test_answers_come_back_whole(queue: Queue) -> None:
    queue.put([Range(3, 0, 4)])
    lease_all(queue)
    given = [
        Answer(3, 0, "w-1", None, empty=True, seconds=(0.1, 0.2, 0.3), bytes_in=5, bytes_out=6, started=1.5),
        Answer(3, 1, "w-2", Cause.BUG, traceback="Traceback: ¬ß", alone=True, peak_bytes=7),
        Answer(3, 2, "w-2", None, values={"threshold": 1.5, "names": ["a", None]}, counts={"cells": 4}),
        Answer(3, 3, "w-3", Cause.PREEMPTED, place=WorkerPlace("n-1", "g4dn.xlarge spot", 1.7e9)),
    ]
    queue.answer(given[:1])
    queue.answer(given[1:])
    assert sorted(answers_of(queue, 4), key=lambda a: a.index) == given


def test_a_waiting_runner_is_woken_by_an_answer(queue: Queue) -> None:
    queue.put([Range(0, 0, 1)])
    queue.lease(1)
    late = threading.Timer(0.2, queue.answer, [[Answer(0, 0, "w", None)]])
    late.start()
    begin = time.monotonic()
    found = queue.answers(30.0)
    late.join()
    assert len(found) == 1
    assert time.monotonic() - begin < 29.0, "it waited to the end"


def test_several_pools_share_the_work(queue: Queue) -> None:
    queue.put([Range(0, 0, 2000)])
    taken: list[list[Range]] = [[], [], []]

    def pool(number: int) -> None:
        while leased := queue.lease(5):
            taken[number] += leased
            for r in leased:
                queue.answer([Answer(0, cell, f"w-{number}", None) for cell in range(r.start, r.stop)])

    threads = [threading.Thread(target=pool, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    found = answers_of(queue, 2000)
    for thread in threads:
        thread.join()
    assert cells([r for part in taken for r in part]) == cells([Range(0, 0, 2000)])
    assert sorted(a.index for a in found) == list(range(2000))
