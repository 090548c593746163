"""Backlog controller: how many cells to keep on the queue for one kind of worker.

It knows neither the pools nor the number of their workers.

1. About as many as were answered in the last second, and no fewer than the runner's own pool has workers.
2. Where the queue is found empty though more is ready, the pools could do more: the number doubles, up to
   MOST_AHEAD. So it finds how many workers there are.
3. It falls back to half in ten seconds, as later stages, which come last on the queue, must not wait long.
"""

from __future__ import annotations

import math
import time

MOST_AHEAD = 8192
"""Cells on the queue at most: enough for a second or two of the quickest tasks."""
HALVED_SECONDS = 10.0


class Feed:
    """Backlog controller for one kind of worker."""

    def __init__(self, least: int) -> None:
        self._least = max(least, 1)
        self._ahead = float(self._least)
        self._per_second = 0.0
        self._answered = 0
        self._asked = time.monotonic()

    def answered(self, cells: int) -> None:
        """Count cells that were answered."""
        self._answered += cells

    def wanted(self, backlog: int, ready: int) -> int:
        """How many cells to put now, where so many lie there and so many are ready."""
        self._pass_time()
        if backlog == 0 and ready:
            self._ahead *= 2
        self._ahead = min(max(self._ahead, self._per_second, self._least), MOST_AHEAD)
        short = int(self._ahead) - backlog
        return min(short, ready) if 4 * short >= self._ahead else 0  # a few at a time would be dear

    def _pass_time(self) -> None:
        now = time.monotonic()
        seconds = now - self._asked
        if seconds < 0.05:
            return
        share = 1.0 - math.exp(-seconds)
        self._per_second += share * (self._answered / seconds - self._per_second)
        self._ahead *= 0.5 ** (seconds / HALVED_SECONDS)
        self._answered, self._asked = 0, now
