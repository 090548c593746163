"""A pool of several kinds of workers, one that grows and shrinks, and workers whose nodes are taken away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from chunkflow.engine.pool.executor import Gone, Leaving, Up
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.queue.cells import Answer, Cause, Range
from chunkflow.engine.queue.memory import MemoryQueue
from tests.support.puppet import Puppet, eventually

Start = Callable[..., Pool]


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


@pytest.fixture
def start(puppet: Puppet) -> Iterator[Start]:
    pools: list[Pool] = []

    def begin(queue: MemoryQueue, *sizes: int, idle_seconds: float | None = None) -> Pool:
        pools.append(Pool(queue, puppet, sizes, idle_seconds=idle_seconds))
        pools[-1].start()
        return pools[-1]

    yield begin
    for pool in pools:
        pool.stop()
        assert pool.error is None


def kinds_given(puppet: Puppet) -> list[tuple[int, int]]:
    """The kind of the worker and of the cell, for all that was given."""
    return [(puppet.kinds[worker], batch.worker_kind) for worker, batch in puppet.given]


def answers_in(queue: MemoryQueue, count: int) -> list[Answer]:
    found: list[Answer] = []
    eventually(lambda: found.extend(queue.answers(0)) or len(found) >= count)
    return found


def done_in(seconds: float, cells: int, queue: MemoryQueue, puppet: Puppet) -> None:
    """So many cells, each of which is given by itself, take so long each."""
    eventually(lambda: len(puppet.given) == cells)
    for _ in range(cells):
        puppet.finish(0, seconds)
    answers_in(queue, cells)


def with_a_worker_for_100_s(puppet: Puppet, start: Start) -> MemoryQueue:
    """A pool of one worker, p1, whose walltime is over then; its queue."""
    puppet.up = False
    queue = MemoryQueue()
    start(queue, 1)
    eventually(lambda: puppet.count == 1)
    puppet.tell(Up("p1", ends=time.time() + 100))
    return queue


def test_each_kind_is_kept_busy_whatever_the_other_has_to_do(puppet: Puppet, start: Start) -> None:
    queue = MemoryQueue(2)
    start(queue, 1, 1)
    queue.put([Range(0, 0, 100)])
    eventually(lambda: kinds_given(puppet) == [(0, 0)] * 3)
    queue.put([Range(1, 0, 100, worker_kind=1)])
    eventually(lambda: len(puppet.given) == 6)
    assert sorted(kinds_given(puppet)) == [(0, 0)] * 3 + [(1, 1)] * 3
    for _ in range(3):
        puppet.finish(0, seconds=1.0)
    eventually(lambda: len(puppet.given) == 6)
    assert sorted(kinds_given(puppet)) == [(0, 0)] * 3 + [(1, 1)] * 3


def test_a_pool_leases_no_more_than_its_workers_have_room_for(puppet: Puppet, start: Start) -> None:
    queue = MemoryQueue()
    queue.put([Range(0, 0, 50)])
    start(queue, 2)
    eventually(lambda: len(puppet.given) == 6)
    time.sleep(0.05)
    assert queue.backlog() == [44]


def test_what_was_leased_as_quick_and_is_slow_is_given_back(puppet: Puppet, start: Start) -> None:
    queue = MemoryQueue()
    start(queue, 1)
    queue.put([Range(0, 0, 3)])
    done_in(0.001, 3, queue, puppet)
    queue.put([Range(1, 0, 150)])
    eventually(lambda: len(puppet.given) == 3)
    eventually(lambda: queue.backlog()[0] >= 140)
    assert [len(batch) for _, batch in puppet.given] == [1, 1, 1]


def test_that_empty_cells_are_quick_says_nothing_of_the_others(puppet: Puppet, start: Start) -> None:
    queue = MemoryQueue()
    start(queue, 1)
    queue.put([Range(0, 0, 3, skip=True)])
    done_in(0.003, 3, queue, puppet)
    queue.put([Range(0, 3, 300)])
    eventually(lambda: len(puppet.given) == 3)
    assert [len(batch) for _, batch in puppet.given] == [1, 1, 1]
    assert not any(batch.skip for _, batch in puppet.given)


def test_the_last_cells_are_left_for_workers_that_are_coming_up(start: Start, puppet: Puppet) -> None:
    puppet.up = False
    queue = MemoryQueue()
    queue.put([Range(0, 0, 3)])
    start(queue, 3)
    eventually(lambda: puppet.count == 3)
    for worker in ("p1", "p2", "p3"):
        puppet.tell(Up(worker))
        time.sleep(0.05)
    eventually(lambda: len(puppet.given) == 3)
    assert {worker for worker, _ in puppet.given} == {"p1", "p2", "p3"}


def test_what_comes_when_nothing_was_there_is_taken_at_once(puppet: Puppet, start: Start) -> None:
    queue = MemoryQueue()
    pool = start(queue, 1)
    queue.put([Range(0, 0, 1)])
    eventually(lambda: len(puppet.given) == 1)
    pool._looked = time.monotonic() + 1000  # the pool looks at the backlog no more
    queue.put([Range(0, 1, 9)])
    eventually(lambda: len(puppet.given) == 3)


def test_an_elastic_pool_has_workers_only_while_there_is_work(puppet: Puppet, start: Start) -> None:
    queue = MemoryQueue(2)
    start(queue, 8, 8, idle_seconds=0.3)
    time.sleep(0.3)
    assert puppet.count == 0
    queue.put([Range(0, 0, 3, worker_kind=1)])
    eventually(lambda: len(puppet.given) == 3)
    assert list(puppet.kinds.values()) == [1, 1, 1], "no more workers than cells"
    for _ in range(3):
        puppet.finish(0, seconds=5.0)
    answers_in(queue, 3)
    assert puppet.ended == [], "they may soon have more to do"
    eventually(lambda: len(puppet.ended) == 3)
    assert sorted(puppet.ended) == ["p1", "p2", "p3"]
    queue.put([Range(0, 3, 4, worker_kind=1)])
    eventually(lambda: puppet.given)
    assert puppet.count == 4


def test_the_last_quick_cells_are_shared_out(puppet: Puppet, start: Start) -> None:
    queue = MemoryQueue()
    start(queue, 2)
    queue.put([Range(0, 0, 2)])
    done_in(0.001, 2, queue, puppet)
    queue.put([Range(0, 2, 38)])
    eventually(lambda: sum(len(batch) for _, batch in puppet.given) == 36)
    assert [len(batch) for _, batch in puppet.given] == [6] * 6


def test_an_elastic_pool_does_not_grow_for_what_its_workers_soon_do(puppet: Puppet, start: Start) -> None:
    queue = MemoryQueue()
    start(queue, 100, idle_seconds=60)
    queue.put([Range(0, 0, 1)])
    done_in(0.001, 1, queue, puppet)
    queue.put([Range(0, 1, 200)])
    eventually(lambda: puppet.given)
    time.sleep(0.5)
    assert puppet.count == 1
    queue.put([Range(1, 0, 400)])
    for _ in range(3):
        puppet.finish(0, seconds=2.0)
    eventually(lambda: puppet.count > 10)


def test_a_worker_that_leaves_does_what_it_has_and_is_replaced(puppet: Puppet, start: Start) -> None:
    queue = MemoryQueue()
    queue.put([Range(0, 0, 10)])
    start(queue, 1)
    eventually(lambda: len(puppet.given) == 3)
    puppet.tell(Leaving("p1"))
    eventually(lambda: puppet.count == 2 and len(puppet.given) == 6)
    assert puppet.ended == []
    for _ in range(3):
        place = [worker for worker, _ in puppet.given].index("p1")
        puppet.finish(place, seconds=1.0)
    eventually(lambda: puppet.ended == ["p1"])
    assert {answer.cause for answer in answers_in(queue, 3)} == {None}
    assert not [worker for worker, _ in puppet.given if worker == "p1"]


def test_what_a_lost_node_had_is_answered_at_once(puppet: Puppet, start: Start) -> None:
    queue = MemoryQueue()
    queue.put([Range(0, 0, 2)])
    start(queue, 1)
    eventually(lambda: len(puppet.given) == 2)
    puppet.tell(Leaving("p1"), Gone("p1", Cause.PREEMPTED, "the node is gone"))
    assert [(a.index, a.cause) for a in answers_in(queue, 2)] == [(0, Cause.PREEMPTED), (1, Cause.PREEMPTED)]
    eventually(lambda: puppet.count == 2)
    assert puppet.ended == []


def test_nothing_is_begun_that_would_not_end_before_the_walltime(puppet: Puppet, start: Start) -> None:
    queue = with_a_worker_for_100_s(puppet, start)
    queue.put([Range(0, 0, 1)])
    eventually(lambda: puppet.given)
    puppet.finish(0, seconds=30.0)
    queue.put([Range(0, 1, 10)])
    eventually(lambda: len(puppet.given) == 1)
    time.sleep(0.05)
    assert len(puppet.given) == 1, "60 of 100 s are taken, with a margin"
    puppet.finish(0, seconds=60.0)
    eventually(lambda: len(puppet.given) == 1)
    assert puppet.count == 1
    puppet.finish(0, seconds=60.0)
    eventually(lambda: puppet.count == 2)
    assert puppet.given == []
    assert puppet.ended == [], "the next would be started on the same node"
    puppet.tell(Up("p2", ends=time.time() + 70))
    eventually(lambda: puppet.given)
    assert [worker for worker, _ in puppet.given] == ["p2"], "a new one tries what may just end"
    puppet.tell(Gone("p1", Cause.NODE_LOST, "its time is over"))
    assert [answer.cause for answer in answers_in(queue, 3)] == [None] * 3


def test_where_most_cells_are_quick_and_some_are_not_these_count(puppet: Puppet, start: Start) -> None:
    """As where a mask leaves out most of the tissue, but not of all cells."""
    queue = with_a_worker_for_100_s(puppet, start)
    for seconds in (0.004, 0.004, 60.0):
        queue.put([Range(0, 0, 3)])
        done_in(seconds, 3, queue, puppet)
    queue.put([Range(0, 3, 6)])
    eventually(lambda: len(puppet.given) == 2)
    time.sleep(0.05)
    assert len(puppet.given) == 2, "twice 20 s for each of them"


def test_what_ends_in_time_goes_before_what_does_not(puppet: Puppet, start: Start) -> None:
    queue = with_a_worker_for_100_s(puppet, start)
    queue.put([Range(0, 0, 1), Range(1, 0, 1)])
    eventually(lambda: len(puppet.given) == 2)
    puppet.finish(0, seconds=80.0)
    puppet.finish(0, seconds=1.0)
    answers_in(queue, 2)
    queue.put([Range(0, 1, 3), Range(1, 1, 2)])
    eventually(lambda: puppet.given)
    assert [batch.stage for _, batch in puppet.given] == [1]
    puppet.finish(0, seconds=1.0)
    eventually(lambda: puppet.count == 2)


def test_a_cell_that_no_node_lasts_for_is_out_of_time(puppet: Puppet, start: Start) -> None:
    puppet.up = False
    queue = MemoryQueue()
    queue.put([Range(0, 0, 1), Range(0, 1, 2, alone=True)])
    pool = start(queue, 2)
    eventually(lambda: puppet.count == 2)
    puppet.tell(Up("p1", ends=time.time() + 100), Up("p2", ends=time.time() + 200))
    eventually(lambda: len(puppet.given) == 2)
    slots = pool._crews[0].workers
    for name, busy in (("p1", 99), ("p2", 199)):
        slots[name].since -= busy  # as if so long ago
        puppet.tell(Gone(name, Cause.PREEMPTED, "its time is over"))
    first, second = answers_in(queue, 2)
    assert (first.cause, first.worker) == (Cause.PREEMPTED, "p1"), "others have twice the time"
    assert (second.cause, second.worker) == (Cause.TIME, "p2")
    assert second.traceback.startswith("this takes longer than the 3.3 min that a worker has")


@pytest.mark.parametrize(("longest", "left", "given"), [(90, 70, 3), (90, 50, 0), (30, 29, 3)])
def test_what_takes_nobody_knows_how_long_needs_a_minute_where_there_is_one(
    puppet: Puppet, start: Start, longest: float, left: float, given: int
) -> None:
    puppet.up = False
    queue = MemoryQueue()
    start(queue, 1)
    eventually(lambda: puppet.count == 1)
    puppet.tell(Up("p1", ends=time.time() + longest), Gone("p1", Cause.PREEMPTED, "the node is gone"))
    eventually(lambda: puppet.count == 2)
    puppet.tell(Up("p2", ends=time.time() + left))
    queue.put([Range(0, 0, 9)])
    eventually(lambda: len(puppet.given) == given and puppet.count == 2 + (given == 0))
