"""What goes over SQS: small, checked, cut so that pools can share it; what cannot be read, and other runs."""

from __future__ import annotations

import time

import pytest

from chunkflow.engine.queue.cells import Answer, Cause, Range
from chunkflow.engine.queue.sqs.messages import (
    MOST_BYTES,
    answer_messages,
    read_answers,
    read_work,
    work_messages,
)
from chunkflow.engine.queue.sqs.queues import Queues, dead_letters
from tests.support.puppet import eventually
from tests.support.sqs import CELLS, FIRST, SECOND, done, heard, leased, make, nothing_left, sqs_queue

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
    monkeypatch.setattr("chunkflow.engine.queue.sqs.queues.AWAY_SECONDS", 1)
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
