"""The bounded cache: its bound, its order, its times, and one loading for all who ask at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.people.viewing.cache import ByteCache, Loaded

ASKED = st.one_of(
    *[st.tuples(st.just("get"), st.integers(0, 15), st.sampled_from([100, 95, 99, 60, 0, 101]))] * 4,
    st.tuples(st.just("held"), st.integers(0, 15), st.just(0)),
    st.tuples(st.sampled_from(["resize", "wait"]), st.just(0), st.integers(0, 130)),
)
"""What is done, of which key, and a number for it: the size of a value, a new limit or a time."""
LIFE = 100.0


class CacheModel:
    """The same as the cache, in the plainest way."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held: OrderedDict[int, tuple[int, float]] = OrderedDict()

    def find(self, key: int, now: float) -> int | None:
        if key in self.held and self.held[key][1] <= now:
            del self.held[key]
        if key not in self.held:
            return None
        self.held.move_to_end(key)
        return self.held[key][0]

    def keep(self, key: int, size: int, until: float) -> None:
        if size > self.limit // 8:
            return
        self.held[key] = (size, until)
        self.held.move_to_end(key)
        self.shrink()

    def shrink(self) -> None:
        while sum(size for size, _ in self.held.values()) > self.limit:
            self.held.popitem(last=False)


@given(st.lists(ASKED, min_size=40, max_size=80))
def test_it_holds_what_the_plainest_cache_holds(asked: list[tuple[str, int, int]]) -> None:
    now = [0.0]
    cache: ByteCache[int] = ByteCache(800, lambda: now[0])
    model = CacheModel(800)
    loaded = 0
    for action, key, number in asked:
        if action == "resize":
            cache.resize(number * 8)
            model.limit = number * 8
            model.shrink()
        elif action == "wait":
            now[0] += number / 4
        elif action == "held":
            held = cache.held(key)
            assert (held.value if held else None) == model.find(key, now[0])
        else:
            expected = model.find(key, now[0])
            loaded += expected is None
            until = now[0] + LIFE
            found = cache.get(key, lambda size=number, until=until: Loaded(size, size, until))
            assert found == (number if expected is None else expected)
            if expected is None:
                model.keep(key, number, until)
        assert cache.misses == loaded
        assert cache.bytes == sum(size for size, _ in model.held.values()) <= cache.limit


def test_twenty_who_ask_at_once_have_it_loaded_once() -> None:
    cache: ByteCache[bytes] = ByteCache(1 << 20)
    begun, may_end, loads = threading.Barrier(20), threading.Event(), []

    def load() -> Loaded[bytes]:
        loads.append(threading.get_ident())
        may_end.wait()
        return Loaded(b"content", 7)

    def ask(_: int) -> bytes:
        begun.wait()
        return cache.get("key", load)

    with ThreadPoolExecutor(20) as threads:
        answers = [threads.submit(ask, number) for number in range(20)]
        while cache.hits + cache.misses < 20:
            pass
        may_end.set()
        assert {answer.result() for answer in answers} == {b"content"}
    assert (len(loads), cache.misses, cache.hits) == (1, 1, 19)


def test_what_could_not_be_loaded_is_told_to_all_and_loaded_anew() -> None:
    cache: ByteCache[bytes] = ByteCache(1 << 20)

    def fail() -> Loaded[bytes]:
        raise ConnectionError("no")

    for _ in range(2):
        with pytest.raises(ConnectionError, match="no"):
            cache.get("key", fail)
    assert cache.get("key", lambda: Loaded(b"content", 7)) == b"content"
    assert (cache.misses, cache.bytes) == (3, 7)


def test_what_was_used_longest_ago_makes_room() -> None:
    cache: ByteCache[int] = ByteCache(800)
    for key in range(8):
        cache.get(key, lambda: Loaded(0, 100))
    cache.held(0)
    cache.get(8, lambda: Loaded(0, 100))
    assert [key for key in range(9) if cache.held(key) is None] == [1]
    assert cache.bytes == 800
