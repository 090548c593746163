"""How many seconds cells usually take, by stage and lately, from those just done."""

from __future__ import annotations

from collections import deque
from statistics import fmean, median

REMEMBERED = 101
"""Cells of a stage whose seconds are remembered."""


class Usual:
    """Remembers the last cells of each stage."""

    def __init__(self) -> None:
        self._by_stage: dict[int, deque[float]] = {}
        self._last: deque[float] = deque(maxlen=REMEMBERED)

    def add(self, stage: int, seconds: float) -> None:
        self._by_stage.setdefault(stage, deque(maxlen=REMEMBERED)).append(seconds)
        self._last.append(seconds)

    def of(self, stage: int, unknown: float = 0.0) -> float:
        """The seconds that a cell of this stage usually takes."""
        known = self._by_stage.get(stage)
        return median(known) if known else unknown

    def lately(self, unknown: float) -> float:
        """The mean of the last cells, whatever their stage."""
        return fmean(self._last) if self._last else unknown
