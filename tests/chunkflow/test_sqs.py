"""The queue over SQS, beside what the conformance suite holds of every queue: leases that run out, what is
lost or cannot be read, other runs, few requests."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import boto3
import pytest
from botocore.exceptions import ConnectionClosedError

from chunkflow.errors import BadInput, StorageError
from chunkflow.queue import Answer, Cause, Range
from chunkflow.sqs import SqsQueue
from chunkflow.sqs_client import NoQueue
from chunkflow.sqs_messages import MOST_BYTES, Run, answer_messages, read_answers, read_work, work_messages
from chunkflow.sqs_queues import Queues, dead_letters, make_queues, remove_queues
from tests.servers import free_port
from tests.sqs import CELLS, FIRST, QUICK, environment, make, new_queue, sqs_queue

SECOND = Run(2, 2000.0)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for variable, value in environment().items():
        monkeypatch.setenv(variable, value)
    return monkeypatch


@pytest.fixture
def url() -> str:
    return new_queue()


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


def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(300):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it never held")


def nothing_left(url: str) -> bool:
    queues = Queues(make(url), url, 1, FIRST)
    count = queues.count_work(0)
    return count.waiting == count.in_flight == 0


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


def test_who_withdraws_does_not_wait_for_sqs(url: str) -> None:
    runner, answering = sqs_queue(url), threading.Event()
    runner.put([Range(0, 0, 30)])
    eventually(lambda: Queues(make(url), url, 1, FIRST).count_work(0).waiting == 10)

    def hang(**_: object) -> None:
        answering.wait()

    runner._queues.client.boto.meta.events.register("before-call.sqs", hang)
    asking = threading.Thread(target=runner.withdraw, daemon=True)
    asking.start()
    asking.join(30)
    assert not asking.is_alive(), "a runner gives signs of life meanwhile"
    answering.set()
    found: list[Range] = []

    def has_all() -> bool:
        found.extend(runner.withdraw())
        return sum(map(len, found)) == 30

    eventually(has_all)
    runner.close()


def test_a_pool_that_drains_does_not_wait_for_sqs(url: str) -> None:
    slow = replace(QUICK, visibility=100)
    runner, first, answering = sqs_queue(url), sqs_queue(url, timing=slow), threading.Event()
    runner.put([Range(0, 0, 40)])
    held = leased(first, 1, most=1)
    eventually(lambda: first._leases.waiting(0)[0] > 0)

    def hang(**_: object) -> None:
        answering.wait()

    first._queues.client.boto.meta.events.register("before-call.sqs", hang)
    draining = threading.Thread(target=first.release, daemon=True)
    draining.start()
    draining.join(30)
    assert not draining.is_alive(), "its workers stop writing if it is silent for long"
    answering.set()
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
    ended = {"answers", "work", "withdrawn", "gatherer"}
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


UNREADABLE = [
    "",
    "not JSON",
    "[" * 5000,
    '{"version": 1}',
    '{"version": 2, "run": {"number": 1, "began": 1000.0}, "ranges": []}',
    work_messages(FIRST, [Range(0, 0, CELLS[0] + 1)])[-1],
    work_messages(FIRST, [Range(9, 0, 1)])[0],
    '{"version":1,"run":{"number":1,"began":1000.0},"ranges":[{"stage":0,"start":5,"stop":5}]}',
    '{"version":1,"run":{"number":1,"began":1000.0},"ranges":[{"stage":0,"start":-1,"stop":5}]}',
    "gASVEAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOULg==",
]


def test_what_cannot_be_read_is_laid_aside_with_the_reason(url: str, aws: pytest.MonkeyPatch) -> None:
    runner, pool = sqs_queue(url), sqs_queue(url)
    queues = Queues(make(url), url, 1, FIRST)
    for text in UNREADABLE[1:]:
        queues.client.send(queues.work[0], [text])
        queues.client.send(queues.answers, [text])
    runner.put([Range(0, 0, 5)])
    pool.answer(done(leased(pool, 5)))
    assert heard(runner, 5) == [0, 1, 2, 3, 4]
    eventually(lambda: len(dead_letters(url)) == 2 * len(UNREADABLE[1:]))
    letters = dead_letters(url)
    assert {text for _, text in letters} == set(UNREADABLE[1:])
    assert all(reason for reason, _ in letters)
    assert any("no cells" in reason for reason, _ in letters)
    eventually(lambda: nothing_left(url))


@pytest.mark.parametrize("text", UNREADABLE)
def test_nothing_but_what_was_written_is_read(text: str) -> None:
    for read in (lambda: read_work(text, CELLS, 0), lambda: read_answers(text, CELLS)):
        with pytest.raises(ValueError, match=r"."):
            read()


def test_an_answer_about_no_cell_of_the_job_is_not_heard() -> None:
    for answer in (
        Answer(0, CELLS[0], "w"),
        Answer(len(CELLS), 0, "w"),
        Answer(-1, 0, "w"),
        Answer(0, -1, "w"),
    ):
        with pytest.raises(ValueError, match="no cell"):
            read_answers(answer_messages(FIRST, [answer])[0], CELLS)


def test_messages_of_an_earlier_run_are_deleted_and_those_of_a_later_one_are_left(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkflow.sqs_queues.AWAY_SECONDS", 1)
    stale, stale_pool = sqs_queue(url), sqs_queue(url)
    stale.put([Range(0, 0, 10)])
    stale_pool.answer(done([Range(0, 50, 60)]))
    eventually(lambda: not nothing_left(url))
    runner, pool = sqs_queue(url, run=SECOND), sqs_queue(url, run=SECOND)
    assert pool.lease(100) == []
    eventually(lambda: nothing_left(url))
    runner.put([Range(0, 100, 110)])
    stale_pool.lease(100)  # a pool that has not heard of the second run
    time.sleep(1.0)
    assert stale_pool.lease(100) == []
    stale_pool.close()
    pool.answer(done(leased(pool, 10)))
    assert heard(runner, 10) == list(range(100, 110))
    assert not any(answer.index in range(50, 60) for answer in runner.answers(0.5))


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


def test_a_queue_on_which_nothing_moves_is_looked_at_less_often(url: str) -> None:
    runner, pool = sqs_queue(url, timing=replace(QUICK, look=0.02, quiet_look=0.6)), sqs_queue(url)
    looks = 0

    def note(**_: object) -> None:
        nonlocal looks
        looks += 1

    runner._queues.client.boto.meta.events.register("before-call.sqs.GetQueueAttributes", note)
    runner.put([Range(0, 0, 40)])
    eventually(lambda: runner.backlog() == [40] and looks > 0)
    looks = 0
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        runner.backlog()
        time.sleep(0.01)
    assert looks < 25, "else about a hundred"
    assert runner.backlog() == [40]
    leased(pool, 40, most=40)
    eventually(lambda: runner.backlog() == [0])
    runner.close()


def test_messages_are_cut_so_that_pools_can_share_them() -> None:
    def sizes(*ranges: Range) -> list[int]:
        works = [read_work(text, (10**6,), 0) for text in work_messages(FIRST, ranges)]
        return [sum(map(len, work.ranges)) for work in works]

    assert sizes(Range(0, 0, 3)) == [1, 1, 1]
    assert sizes(Range(0, 0, 95)) == [10] * 9 + [5]
    assert sizes(Range(0, 0, 25_000)) == [1000] * 25
    scattered = [Range(0, i, i + 1) for i in range(0, 2000, 2)]
    assert sizes(*scattered) == [100] * 10
    assert sizes(Range(0, 0, 100), Range(0, 200, 201, alone=True)) == [11] * 9 + [1, 1]
    largest = work_messages(
        FIRST, [Range(0, 10**6 - i, 10**6 - i + 1, skip=True) for i in range(2, 20_002, 2)]
    )
    assert max(map(len, largest)) * 4 < MOST_BYTES


def test_answers_fit_into_messages_whatever_they_hold() -> None:
    long = [
        Answer(0, i, "worker", Cause.BUG, traceback=f"{i}¬" + "x\udc80" * 100_000 + "end") for i in range(100)
    ]
    huge = Answer(0, 5, "w", values={"table": "y" * MOST_BYTES})
    empty = Answer(0, 6, "w", values={})
    messages = answer_messages(FIRST, [*long, huge, empty])
    assert max(map(len, messages)) <= MOST_BYTES
    assert all(text.isascii() for text in messages)
    found = [answer for text in messages for answer in read_answers(text, CELLS).answers]
    assert [answer.index for answer in found[:100]] == list(range(100))
    assert all(answer.traceback.endswith("end") for answer in found[:100])
    assert found[100].cause is Cause.BUG
    assert found[100].values is None
    assert "bytes" in found[100].traceback
    assert found[101] == empty


def test_queues_are_made_once_kept_from_other_jobs_and_removed(url: str, aws: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        client = make_queues(url, 2, "file:///data/jobs/one")
    with pytest.raises(BadInput, match="serves the job in file:///data/jobs/one"):
        make_queues(url, 2, "file:///data/jobs/two")
    queues = Queues(client, url, 2, FIRST)
    by_hand = client.create(f"{url.removeprefix('sqs://')}-work-2", {}, {})
    make_queues(url, 3, "file:///data/jobs/one")
    client.send(queues.dead, ["unread"], "for someone to see")
    remove_queues(Queues(client, url, 1, FIRST), "file:///data/jobs/one")  # it has fewer kinds by now
    left = client.boto.list_queues(QueueNamePrefix=url.removeprefix("sqs://"))["QueueUrls"]
    assert left == [queues.dead, by_hand]
    assert dead_letters(url) == dead_letters(url) == [("for someone to see", "unread")]
    client.delete(queues.dead)
    assert dead_letters(url) == []


KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
NOWHERE = {
    "AWS_CONFIG_FILE": "/none",
    "AWS_SHARED_CREDENTIALS_FILE": "/none",
    "AWS_EC2_METADATA_DISABLED": "true",
}
WITHOUT: dict[str, tuple[dict[str, str], tuple[str, ...], str]] = {
    "region": ({}, ("AWS_DEFAULT_REGION",), "no AWS region is known; set AWS_DEFAULT_REGION"),
    "keys": ({}, KEYS, "no AWS keys are found"),
    "profile": ({"AWS_PROFILE": "nobody"}, (), "no AWS keys are found .*nobody"),
    "endpoint": ({"AWS_ENDPOINT_URL": "nonsense"}, (), "look at AWS_ENDPOINT_URL"),
}


@pytest.mark.parametrize("case", WITHOUT)
def test_who_cannot_use_sqs_is_told_in_a_sentence(case: str, aws: pytest.MonkeyPatch) -> None:
    changed, removed, said = WITHOUT[case]
    aws.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers keys
    for variable, value in {**NOWHERE, **changed}.items():
        aws.setenv(variable, value)
    for variable in removed:
        aws.delenv(variable)
    with pytest.raises(BadInput, match=said) as raised:
        make_queues("sqs://q", 1, "file:///work")
    assert len(str(raised.value).splitlines()) == 1


def let_in(requests: bytes) -> None:
    """So many requests are answered without a look at who asks."""
    guard = f"{environment()['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    said = urllib.request.Request(guard, requests, {"Content-Type": "text/plain"})
    urllib.request.urlopen(said).close()


def test_who_is_not_allowed_to_use_sqs_is_told_so(url: str, aws: pytest.MonkeyPatch) -> None:
    let_in(b"0")
    try:
        with pytest.raises(BadInput, match="AWS does not allow it"):
            make_queues(url, 1, "file:///work")
    finally:
        let_in(b"inf")


def test_a_queue_is_looked_for_again_where_sqs_has_no_time(url: str, aws: pytest.MonkeyPatch) -> None:
    client, asked = make(url), 0

    def refuse_once(**_: object) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ConnectionClosedError(endpoint_url="sqs")

    client.boto.meta.events.register("before-call.sqs.GetQueueUrl", refuse_once)
    assert client.find(f"{url.removeprefix('sqs://')}-work-0").endswith("-work-0")
    with pytest.raises(NoQueue):
        client.find("none")
    assert asked == 3, "what is not there is told at once"


def test_who_does_not_reach_sqs_hears_of_it(aws: pytest.MonkeyPatch) -> None:
    aws.setattr("chunkflow.sqs_client.OPENING_PATIENCE", 0.0)
    aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StorageError, match="Cannot find the queue"):
        make_queues("sqs://q", 1, "file:///work")
