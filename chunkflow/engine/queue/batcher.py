"""Batcher: small items handed on together, so that many cost few requests.

1. What comes after a pause is handed on at once; what comes after that waits until `seconds` have passed
   since, or until there are `most`.
2. A thread hands on; what goes wrong there is raised to whoever adds next, or closes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """Passes items to `hand_on` in batches, in their order, from a thread of its own."""

    def __init__(self, hand_on: Callable[[list[T]], None], seconds: float, most: int) -> None:
        self._hand_on, self._seconds, self._most = hand_on, seconds, most
        self._items: list[T] = []
        self._changed = threading.Condition()
        self._closed = False
        self._last = 0.0
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def add(self, items: Sequence[T]) -> None:
        with self._changed:
            if self._error is not None:
                raise self._error
            self._items.extend(items)
            if self._thread is None and self._items:
                self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def take_back(self) -> list[T]:
        """Take out the items that are not handed on yet."""
        with self._changed:
            items, self._items = self._items, []
            return items

    def waiting(self) -> list[T]:
        """A copy of the items that are not handed on yet."""
        with self._changed:
            return list(self._items)

    def close(self) -> None:
        """Hand on all that was added, and end; waits for that."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while items := self._next():
            try:
                self._hand_on(items)
            except BaseException as error:  # whoever adds or closes must hear of it
                self._error = error
                return
            self._last = time.monotonic()

    def _next(self) -> list[T]:
        """What is due; waits for it. Nothing once closed."""
        with self._changed:
            while not self._due():
                if self._closed and not self._items:
                    return []
                rest = self._last + self._seconds - time.monotonic()
                self._changed.wait(max(rest, 0.001) if self._items else None)
            items, self._items = self._items, []
            return items

    def _due(self) -> bool:
        if not self._items:
            return False
        late = time.monotonic() - self._last >= self._seconds
        return self._closed or late or len(self._items) >= self._most
