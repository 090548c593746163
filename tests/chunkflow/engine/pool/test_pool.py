"""The pool with an executor that does what the test says: suspects, silent workers, draining."""

from __future__ import annotations

import time

import pytest

from chunkflow.engine.pool.crew import LARGEST_BATCH
from chunkflow.engine.pool.executor import BatchDone, Gone, Happening, Up
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.queue.cells import Answer, Cause, Range
from chunkflow.engine.queue.memory import MemoryQueue
from tests.support.puppet import Puppet, eventually


@pytest.fixture
def puppet() -> Puppet:
    return Puppet()


def started(queue: MemoryQueue, puppet: Puppet, size: int = 2, patience: float = 600.0) -> Pool:
    pool = Pool(queue, puppet, [size], patience)
    pool.start()
    return pool


def test_a_worker_that_is_not_up_gets_nothing() -> None:
    queue, puppet = MemoryQueue(), Puppet(up=False)
    queue.put([Range(0, 0, 9)])
    pool = started(queue, puppet)
    eventually(lambda: puppet.count == 2)
    time.sleep(0.05)
    assert puppet.given == []
    puppet.tell(Up("p2"))
    eventually(lambda: len(puppet.given) == 3)
    assert {worker for worker, _ in puppet.given} == {"p2"}
    pool.stop()
    assert puppet.closed


def test_quick_cells_are_handed_out_in_batches_and_slow_ones_singly(puppet: Puppet) -> None:
    queue = MemoryQueue()
    pool = started(queue, puppet, size=1)
    queue.put([Range(0, 0, 10_000)])
    eventually(lambda: len(puppet.given) == 3)
    assert [len(batch) for _, batch in puppet.given] == [1, 1, 1]
    for _ in range(3):
        puppet.finish(0, seconds=0.0001)
    eventually(lambda: len(puppet.given) == 3)
    assert max(len(batch) for _, batch in puppet.given) > 10
    assert max(len(batch) for _, batch in puppet.given) <= LARGEST_BATCH
    pool.stop()


def test_cells_that_were_not_done_do_not_make_the_others_quick(puppet: Puppet) -> None:
    queue = MemoryQueue()
    pool = started(queue, puppet, size=1)
    queue.put([Range(0, 0, 1000)])
    eventually(lambda: len(puppet.given) == 3)
    for _ in range(3):
        worker, batch = puppet.given.pop(0)
        puppet.tell(BatchDone(worker, batch, [Answer(0, batch.start, worker, Cause.PREEMPTED)]))
    eventually(lambda: len(puppet.given) == 3)
    assert [len(batch) for _, batch in puppet.given] == [1, 1, 1]
    pool.stop()


def test_all_that_a_lost_worker_had_in_hand_is_answered_and_another_takes_its_place(puppet: Puppet) -> None:
    queue = MemoryQueue()
    queue.put([Range(0, 0, 3)])
    pool = started(queue, puppet, size=1)
    eventually(lambda: len(puppet.given) == 3)
    puppet.tell(Gone("p1", Cause.CRASH, "it died"))
    answers: list[Answer] = []
    eventually(lambda: answers.extend(queue.answers(0)) or len(answers) == 3)
    assert {(a.index, a.cause, a.alone, a.traceback) for a in answers} == {
        (i, Cause.CRASH, False, "it died") for i in range(3)
    }
    eventually(lambda: puppet.count == 2)
    pool.stop()


def test_a_suspect_is_tried_alone_and_others_go_on_beside_it(puppet: Puppet) -> None:
    queue = MemoryQueue()
    pool = started(queue, puppet, size=2)
    queue.put([Range(0, 0, 6), Range(0, 99, 100, alone=True), Range(0, 6, 40)])
    eventually(lambda: len(puppet.given) == 6)
    for _ in range(200):  # finish what is not the suspect, until it is handed out
        if any(batch.alone for _, batch in puppet.given):
            break
        if puppet.given:
            puppet.finish(0, seconds=1.0)
        time.sleep(0.005)
    alone = [worker for worker, batch in puppet.given if batch.alone]
    assert len(alone) == 1
    assert [batch for worker, batch in puppet.given if worker == alone[0]] == [Range(0, 99, 100, alone=True)]
    eventually(lambda: sum(worker != alone[0] for worker, _ in puppet.given) == 3)
    puppet.tell(Gone(alone[0], Cause.CRASH, "again"))
    found: list[Answer] = []
    eventually(lambda: found.extend(queue.answers(0)) or any(a.cause for a in found))
    assert [(a.index, a.alone) for a in found if a.cause] == [(99, True)]
    pool.stop()


def test_a_silent_worker_is_ended_and_answered_for(puppet: Puppet) -> None:
    queue = MemoryQueue()
    queue.put([Range(0, 0, 1)])
    pool = started(queue, puppet, size=1, patience=0.05)
    answers: list[Answer] = []
    eventually(lambda: answers.extend(queue.answers(0)) or answers)
    assert (answers[0].cause, answers[0].alone) == (Cause.SILENT, True)
    assert puppet.ended == ["p1"]
    puppet.finish(0)  # its word comes after all: nobody listens
    time.sleep(0.05)
    assert queue.answers(0) == []
    pool.stop()


def test_a_worker_that_takes_as_long_as_usual_is_not_silent(puppet: Puppet) -> None:
    queue = MemoryQueue()
    queue.put([Range(0, 0, 2)])
    pool = started(queue, puppet, size=1, patience=0.01)
    eventually(lambda: len(puppet.given) >= 1)
    puppet.finish(0, seconds=100.0)
    eventually(lambda: queue.answers(0))
    time.sleep(0.1)
    assert len(puppet.ended) <= 1, "20 times 100 s have not passed since"
    pool.stop()


@pytest.mark.parametrize(
    ("ranges", "given"),
    [
        ([Range(0, 0, 20), Range(0, 50, 51, alone=True)], 3),
        ([Range(0, 50, 51, alone=True), Range(0, 0, 2)], 1),
    ],
    ids=["from the queue", "from the pool"],
)
def test_draining_gives_back_what_is_not_begun(puppet: Puppet, ranges: list[Range], given: int) -> None:
    queue = MemoryQueue()
    queue.put(ranges)
    pool = started(queue, puppet, size=1)
    eventually(lambda: len(puppet.given) == given)
    pool.drain()
    time.sleep(0.05)
    assert not pool.drained
    for _ in range(given):
        puppet.finish(0)
    eventually(lambda: pool.drained)
    done = {answer.index for answer in queue.answers(0)}
    left = {cell for r in queue.withdraw() for cell in range(r.start, r.stop)}
    assert len(done) == given
    assert sorted([*done, *left]) == sorted(cell for r in ranges for cell in range(r.start, r.stop))
    pool.stop()


def test_an_executor_that_fails_is_heard_of(puppet: Puppet) -> None:
    queue = MemoryQueue()

    def fail(seconds: float) -> list[Happening]:
        raise OSError("no cluster")

    puppet.wait = fail  # type: ignore[method-assign]
    pool = started(queue, puppet)
    eventually(lambda: pool.error)
    assert str(pool.error) == "no cluster"
    pool.stop()
