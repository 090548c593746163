"""Why an attempt failed, and what follows from it.

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
"""What any of the cells in a worker's hands may have brought about."""
NODE_LOSSES = 3
LONGEST_BACKOFF = 60.0


@dataclass(frozen=True)
class Verdict:
    """What the runner does with a cell whose attempt failed."""

    final: bool
    """No attempt is left: the cell is set aside."""
    delay: float = 0.0
    alone: bool = False
    charged: int = 0
    """Attempts charged so far."""


@dataclass
class _Record:
    """What has happened to one cell that failed before."""

    charges: dict[Cause, int] = field(default_factory=dict)
    node_losses: int = 0
    alone: bool = False


class Judge:
    """Remembers the cells that failed, and decides what follows."""

    def __init__(self, backoff: float = 1.0) -> None:
        self._backoff = backoff
        self._records: dict[tuple[int, int], _Record] = {}

    def judge(self, answer: Answer) -> Verdict:
        record = self._records.setdefault((answer.stage, answer.index), _Record())
        cause = answer.cause
        assert cause is not None
        if cause is Cause.NODE_LOST:
            record.node_losses += 1
            if record.node_losses % NODE_LOSSES == 0:
                return self._charge(record, Cause.CRASH, alone=True)
        if cause in (Cause.PREEMPTED, Cause.NODE_LOST, Cause.GIVEN_BACK):
            return Verdict(False, alone=record.alone, charged=self._charged(record))
        if cause in SUSPECTS and not answer.alone:
            record.alone = True  # one of several suspects: it is tried by itself before it is charged
            return Verdict(False, alone=True, charged=self._charged(record))
        return self._charge(record, cause, alone=cause is Cause.MEMORY or cause in SUSPECTS)

    def attempt(self, stage: int, index: int) -> int:
        """The number of the attempt that is under way or just ended, counting those charged."""
        record = self._records.get((stage, index))
        return 1 + (self._charged(record) if record else 0)

    def forget(self, stage: int, index: int) -> None:
        self._records.pop((stage, index), None)

    def _charge(self, record: _Record, cause: Cause, alone: bool) -> Verdict:
        count = record.charges[cause] = record.charges.get(cause, 0) + 1
        record.alone = record.alone or alone
        waits = cause in (Cause.STORAGE, Cause.DAMAGED, Cause.INPUT)
        delay = min(self._backoff * 2 ** (count - 1), LONGEST_BACKOFF) if waits else 0.0
        return Verdict(count >= LIMITS[cause], delay, record.alone, self._charged(record))

    @staticmethod
    def _charged(record: _Record) -> int:
        return sum(record.charges.values())
