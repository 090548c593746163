"""Retry policy: what follows from a failed attempt, by its cause.

cause          what follows                                             attempts it may cost
preempted      again, at once                                           none
given back     again, at once (the worker drained)                      none
node lost      again, at once; the third time it counts as a crash      none
storage        again, with backoff                                      8
damaged input  again, with backoff: a writer may be at work there       3
bad input      again, with backoff: a disk may have been away           2
out of memory  again, alone on a worker                                 3
crash, no word again, alone; only one that was alone is charged         3
out of time    the same: it took as long as any node lasts              2
bug            again                                                    3
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chunkflow.engine.queue.cells import Answer, Cause

LIMITS = {
    Cause.STORAGE: 8,
    Cause.DAMAGED: 3,
    Cause.INPUT: 2,
    Cause.MEMORY: 3,
    Cause.CRASH: 3,
    Cause.SILENT: 3,
    Cause.TIME: 2,
    Cause.BUG: 3,
}
SUSPECTS = (Cause.CRASH, Cause.SILENT, Cause.TIME)
"""Causes that any of the cells in flight on a worker may have brought about."""
NODE_LOSSES = 3
LONGEST_BACKOFF = 60.0


@dataclass(frozen=True)
class Verdict:
    """Decision on a cell whose attempt failed."""

    final: bool
    """No attempt is left: the cell is set aside."""
    delay: float = 0.0
    alone: bool = False
    charged: int = 0
    """Attempts charged so far."""


@dataclass
class _History:
    """Failures of one cell so far."""

    charges: dict[Cause, int] = field(default_factory=dict)
    node_losses: int = 0
    alone: bool = False


class RetryPolicy:
    """Retry policy of one run: remembers the cells that failed, and decides what follows."""

    def __init__(self, backoff: float = 1.0) -> None:
        self._backoff = backoff
        self._histories: dict[tuple[int, int], _History] = {}

    def decide(self, answer: Answer) -> Verdict:
        """Decide on a failed attempt, and charge it where it costs one."""
        history = self._histories.setdefault((answer.stage, answer.index), _History())
        cause = answer.cause
        assert cause is not None
        if cause is Cause.NODE_LOST:
            history.node_losses += 1
            if history.node_losses % NODE_LOSSES == 0:
                return self._charge(history, Cause.CRASH, alone=True)
        if cause in (Cause.PREEMPTED, Cause.NODE_LOST, Cause.GIVEN_BACK):
            return Verdict(False, alone=history.alone, charged=self._charged(history))
        if cause in SUSPECTS and not answer.alone:
            history.alone = True  # one of several suspects: it is tried by itself before it is charged
            return Verdict(False, alone=True, charged=self._charged(history))
        return self._charge(history, cause, alone=cause is Cause.MEMORY or cause in SUSPECTS)

    def attempt(self, stage: int, index: int) -> int:
        """The number of the attempt that is under way or just ended, counting those charged."""
        history = self._histories.get((stage, index))
        return 1 + (self._charged(history) if history else 0)

    def forget(self, stage: int, index: int) -> None:
        self._histories.pop((stage, index), None)

    def _charge(self, history: _History, cause: Cause, alone: bool) -> Verdict:
        count = history.charges[cause] = history.charges.get(cause, 0) + 1
        history.alone = history.alone or alone
        waits = cause in (Cause.STORAGE, Cause.DAMAGED, Cause.INPUT)
        delay = min(self._backoff * 2 ** (count - 1), LONGEST_BACKOFF) if waits else 0.0
        return Verdict(count >= LIMITS[cause], delay, history.alone, self._charged(history))

    @staticmethod
    def _charged(history: _History) -> int:
        return sum(history.charges.values())
