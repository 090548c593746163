"""How much lies on the queue: it follows what pools take, whoever they are."""

from __future__ import annotations

import pytest

from chunkflow.engine.queue import feed as feed_module
from chunkflow.engine.queue.feed import MOST_AHEAD, Feed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, as the feed sees it."""
    now = [1000.0]
    monkeypatch.setattr(feed_module.time, "monotonic", lambda: now[0])
    return now


def test_what_is_found_empty_is_filled_twice_as_high_until_it_is_not(clock: list[float]) -> None:
    feed = Feed(4)
    assert [feed.wanted(0, 10**6) for _ in range(3)] == [8, 16, 32]
    assert feed.wanted(31, 10**6) == 0, "a few cells at a time would be dear"
    assert feed.wanted(20, 10**6) == 12
    for _ in range(20):
        feed.wanted(0, 10**6)
    assert feed.wanted(0, 10**6) == MOST_AHEAD


def test_no_more_is_put_than_is_ready_and_nothing_is_learned_from_that(clock: list[float]) -> None:
    feed = Feed(4)
    assert [feed.wanted(0, 0) for _ in range(9)] == [0] * 9
    assert feed.wanted(0, 3) == 3
    assert feed.wanted(3, 100) == 5


def test_it_falls_back_to_what_was_answered_in_a_second_or_the_size_of_the_pool(clock: list[float]) -> None:
    feed = Feed(4)
    for _ in range(12):
        feed.wanted(0, 10**6)
    for _ in range(1200):
        clock[0] += 0.1
        feed.answered(20)
        feed.wanted(10**6, 10**6)
    assert 390 <= feed.wanted(1, 10**6) * 2 <= 402 or 195 <= feed.wanted(1, 10**6) <= 201
    for _ in range(1200):
        clock[0] += 0.1
        feed.wanted(10**6, 10**6)
    assert feed.wanted(1, 10**6) == 3


def test_a_pool_that_holds_none_of_a_kind_still_offers_it_to_others() -> None:
    assert Feed(0).wanted(0, 10) >= 1
