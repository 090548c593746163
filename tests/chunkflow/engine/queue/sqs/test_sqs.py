"""The queue over SQS, beside what the conformance suite holds of every queue: leases that run out, what is
lost, who drains, few requests."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from chunkflow.engine.queue.cells import Answer, Range
from chunkflow.engine.queue.sqs.messages import answer_messages, work_messages
from chunkflow.engine.queue.sqs.queue import SqsQueue
from chunkflow.engine.queue.sqs.queues import Queues
from tests.support.puppet import eventually
from tests.support.sqs import FIRST, QUICK, done, heard, leased, make, nothing_left, sqs_queue


def test_a_lease_that_is_worked_on_is_kept_and_one_of_a_dead_pool_is_not(url: str) -> None:
    short = replace(QUICK, visibility=3)
    runner, first, second = sqs_queue(url), sqs_queue(url, timing=short), sqs_queue(url, timing=short)
    runner.put([Range(0, 0, 4)])
    held = leased(first, 4)
    until = time.monotonic() + 1.5 * short.visibility
    while time.monotonic() < until:
        assert second.lease(10) == []
        time.sleep(0.1)
    first._leases._closed = True  # as when its process was killed: it asks for no more time, and says nothing
    again = leased(second, 4)
    assert sorted(a.index for a in done(again)) == [0, 1, 2, 3]
    second.answer(done(again))
    assert heard(runner, 4) == [0, 1, 2, 3]
    first._leases.answer(done(held))  # it was only thought dead
    assert heard(runner, 4) == [0, 1, 2, 3], "the runner hears it, and judges"
    eventually(lambda: nothing_left(url))


def test_what_two_messages_hold_is_offered_while_one_of_them_is_here(url: str) -> None:
    pool = sqs_queue(url)
    client, work = pool._queues.client, pool._queues.work[0]
    begun = time.monotonic()
    for until in (begun - 1, begun + 100):  # the first has lapsed, the second is kept
        client.send(work, work_messages(FIRST, [Range(0, 3, 4, alone=True)]))
        pool._leases._take_in(0, client.receive(work, 1, 1, 100), until)
    assert pool.lease(10) == [Range(0, 3, 4, alone=True)]
    pool.close()


def test_a_pool_that_drains_gives_back_at_once(url: str) -> None:
    slow = replace(QUICK, visibility=100)
    runner, first, second = sqs_queue(url), sqs_queue(url, timing=slow), sqs_queue(url, timing=slow)
    runner.put([Range(0, 0, 40, skip=True)])
    held = leased(first, 3, most=3)
    first.answer(done(held[:1]))
    first.give_back(held[2:])
    first.close()  # one was answered, one given back, one is in nobody's hands any more
    rest = leased(second, 40 - len(done(held[:1])))
    assert all(r.skip for r in rest)
    second.answer(done(rest))
    assert heard(runner, 40) == list(range(40))
    eventually(lambda: nothing_left(url))


def test_what_a_pool_does_not_begin_goes_to_others(url: str) -> None:
    runner, slow = sqs_queue(url), sqs_queue(url, timing=replace(QUICK, held=0.5, visibility=100))
    other = sqs_queue(url)
    runner.put([Range(0, 0, 100)])
    eventually(lambda: Queues(make(url), url, 1, FIRST).count_work(0).waiting == 10)
    held = leased(slow, 91, most=91)  # of the last message it leaves some
    rest = leased(other, 9)
    assert sorted(a.index for a in done(held + rest)) == list(range(100))


def test_work_that_was_lost_is_put_again(url: str) -> None:
    runner, pool = sqs_queue(url), sqs_queue(url)
    runner.put([Range(0, 0, 30), Range(1, 5, 6, alone=True)])
    eventually(lambda: not nothing_left(url))
    client = make(url)
    client.boto.purge_queue(QueueUrl=Queues(client, url, 1, FIRST).work[0])
    assert nothing_left(url)
    runner.answers(0.0)  # it listens from here on
    again = leased(pool, 31)
    assert [r for r in again if r.alone] == [Range(1, 5, 6, alone=True)]
    pool.answer(done(again))
    assert len(heard(runner, 31)) == 31


def returns_while_sqs_hangs(queue: SqsQueue, act: Callable[[], object]) -> bool:
    """Whether something comes to its end while SQS answers nothing; then it answers again."""
    answering = threading.Event()

    def hang(**_: object) -> None:
        answering.wait()

    queue._queues.client.boto.meta.events.register("before-call.sqs", hang)
    acting = threading.Thread(target=act, daemon=True)
    acting.start()
    acting.join(30)
    answering.set()
    return not acting.is_alive()


def test_who_withdraws_does_not_wait_for_sqs(url: str) -> None:
    runner = sqs_queue(url)
    runner.put([Range(0, 0, 30)])
    eventually(lambda: Queues(make(url), url, 1, FIRST).count_work(0).waiting == 10)
    assert returns_while_sqs_hangs(runner, runner.withdraw), "a runner gives signs of life meanwhile"
    found: list[Range] = []

    def has_all() -> bool:
        found.extend(runner.withdraw())
        return sum(map(len, found)) == 30

    eventually(has_all)
    runner.close()


def test_what_is_put_after_a_withdrawal_is_for_the_pools(url: str) -> None:
    """However long they take to ask for it."""
    runner, pool = sqs_queue(url), sqs_queue(url)
    assert runner.withdraw() == []
    runner.put([Range(0, 0, 6)])
    eventually(lambda: Queues(make(url), url, 1, FIRST).count_work(0).waiting > 0)
    time.sleep(5 * QUICK.look)  # as often it was looked whether there is more to take back
    assert sum(map(len, leased(pool, 6))) == 6
    assert runner.withdraw() == []
    for queue in (runner, pool):
        queue.close()


def test_a_pool_that_drains_does_not_wait_for_sqs(url: str) -> None:
    slow = replace(QUICK, visibility=100)
    runner, first = sqs_queue(url), sqs_queue(url, timing=slow)
    runner.put([Range(0, 0, 40)])
    held = leased(first, 1, most=1)
    eventually(lambda: first._leases.waiting(0)[0] > 0)
    assert returns_while_sqs_hangs(first, first.release), "its workers stop writing if it is silent for long"
    rest = leased(sqs_queue(url), 39)
    assert sorted(a.index for a in done(held + rest)) == list(range(40))
    first.close()


def test_nothing_comes_any_more_to_who_has_ended(url: str) -> None:
    before = set(threading.enumerate())
    both = sqs_queue(url)
    both.answers(0.0)
    assert both.lease(1) == both.withdraw() == []
    both.put([Range(0, 0, 1)])
    begun = {thread for thread in threading.enumerate() if thread not in before}
    ended = {"answers", "work", "withdrawn", "batcher"}
    assert ended <= {thread.name for thread in begun}
    both.close()
    both.join()
    assert not any(thread.is_alive() for thread in begun if thread.name in ended)


def test_answers_that_come_twice_are_heard_once(url: str) -> None:
    runner = sqs_queue(url)
    queues = Queues(make(url), url, 1, FIRST)
    message = answer_messages(FIRST, done([Range(0, 0, 3)]))
    for _ in range(3):
        queues.client.send(queues.answers, message)
    queues.client.send(queues.answers, answer_messages(FIRST, [Answer(0, 7, "last")]))
    found = heard(runner, 4)
    for _ in range(3):
        found += [answer.index for answer in runner.answers(0.3)]
    assert sorted(found) == [0, 1, 2, 7]


def test_many_cells_cost_few_requests(url: str) -> None:
    usual = replace(QUICK, gather=1.0, look=1.0, answers_poll=5, poll=5, visibility=120)
    runner, pool = sqs_queue(url, timing=usual), sqs_queue(url, timing=usual)
    counts: Counter[str] = Counter()
    for queue in (runner, pool):
        queue._queues.client.boto.meta.events.register(
            "before-call.sqs", lambda model, **_: counts.update([model.name])
        )
    answered: list[Answer] = []
    put = 0
    while len(answered) < 4000:
        backlog = runner.backlog()[0]
        if put < 4000 and backlog < 1000:
            runner.put([Range(0, put, put + 1000)])
            put += 1000
        for r in pool.lease(200):
            pool.answer(done([r]))
        answered += runner.answers(0.02)
    assert sorted(a.index for a in answered) == list(range(4000))
    eventually(lambda: nothing_left(url))
    assert sum(counts.values()) < 100, counts
