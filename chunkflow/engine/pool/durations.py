"""Running means of the seconds that cells take, by stage and over all, from those just done.

Cells to skip are known apart: they take next to nothing, and would make their neighbours look as quick. Among
the others, too, some take next to nothing (what a mask leaves out), so it is the mean that counts: many of
them take together what the mean says, a median may be that of the quick ones alone.
"""

from __future__ import annotations

from collections import deque
from statistics import fmean

from chunkflow.engine.queue.cells import Range

REMEMBERED = 101
"""Cells of a kind whose seconds are remembered."""


class Durations:
    """Running means over the last cells of each stage, and of these the skipped ones apart."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool], deque[float]] = {}
        self._last: deque[float] = deque(maxlen=REMEMBERED)

    def add(self, cells: Range, seconds: float) -> None:
        """Count a cell of these that took so long."""
        self._known.setdefault(_kind(cells), deque(maxlen=REMEMBERED)).append(seconds)
        self._last.append(seconds)

    def of(self, cells: Range, unknown: float = 0.0) -> float:
        """The mean seconds of a cell of these."""
        known = self._known.get(_kind(cells))
        return fmean(known) if known else unknown

    def lately(self, unknown: float) -> float:
        """The mean of the last cells, whatever they were."""
        return fmean(self._last) if self._last else unknown


def _kind(cells: Range) -> tuple[int, bool]:
    return cells.stage, cells.skip
