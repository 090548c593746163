"""A bounded cache in memory: of all that it holds, what was used longest ago goes first.

1. What several threads ask for at once is loaded by one of them; the others wait for it.
2. A value that alone would fill an eighth of the cache is handed on and not kept.
3. A value may be held for a time only. One that could not be loaded is not held: the next one asks again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Loaded(Generic[Value]):
    """A value, the bytes that it takes, and until when (of the cache's clock) it may be held."""

    value: Value
    size: int
    until: float = float("inf")


class ByteCache(Generic[Value]):
    """Values by key, which together take at most `limit` bytes."""

    def __init__(self, limit: int, now: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.hits = 0
        """Values that were given without loading them; also to those who waited for another's loading."""
        self.misses = 0
        """Values that were loaded."""
        self.bytes = 0
        """What the values take that are held."""
        self._now = now
        self._held: OrderedDict[Hashable, Loaded[Value]] = OrderedDict()
        self._loading: dict[Hashable, Future[Value]] = {}
        self._lock = threading.Lock()

    @property
    def largest(self) -> int:
        """The bytes of the largest value that is kept."""
        return self.limit // 8

    def held(self, key: Hashable) -> Loaded[Value] | None:
        """What is held for a key; None where it would have to be loaded."""
        with self._lock:
            found = self._found(key)
            self.hits += found is not None
            return found

    def get(self, key: Hashable, load: Callable[[], Loaded[Value]]) -> Value:
        """The value of a key, loaded where it is not held."""
        with self._lock:
            found = self._found(key)
            mine = found is None and key not in self._loading
            self.misses += mine
            self.hits += not mine
            if found is not None:
                return found.value
            coming = self._loading.setdefault(key, Future())
        return self._load(key, load, coming) if mine else coming.result()

    def _load(self, key: Hashable, load: Callable[[], Loaded[Value]], coming: Future[Value]) -> Value:
        try:
            loaded = load()
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            coming.set_exception(error)
            raise
        with self._lock:
            del self._loading[key]
            self._keep(key, loaded)
        coming.set_result(loaded.value)
        return loaded.value

    def resize(self, limit: int) -> None:
        """Keep at most so many bytes from now on."""
        with self._lock:
            self.limit = limit
            self._make_room(0)

    def _found(self, key: Hashable) -> Loaded[Value] | None:
        found = self._held.get(key)
        if found is None:
            return None
        if found.until <= self._now():
            self._drop(key)
            return None
        self._held.move_to_end(key)
        return found

    def _keep(self, key: Hashable, loaded: Loaded[Value]) -> None:
        if loaded.size > self.largest or loaded.until <= self._now():
            return
        self._make_room(loaded.size)
        self._held[key] = loaded
        self.bytes += loaded.size

    def _make_room(self, size: int) -> None:
        while self.bytes + size > self.limit:
            self._drop(next(iter(self._held)))

    def _drop(self, key: Hashable) -> None:
        self.bytes -= self._held.pop(key).size
