"""In-flight slots of a worker: the batches that it was given, and whether it may get more."""

from __future__ import annotations

from dataclasses import dataclass, field

from chunkflow.engine.queue.cells import Range

IN_FLIGHT = 3
"""Batches in flight on a worker: one it reads for, one it maps, one it writes."""


@dataclass(eq=False)
class Slots:
    """One worker and its batches in flight, in the order given."""

    worker: str
    since: float
    """When it was started, when the oldest batch was begun, or when it last answered."""
    batches: list[Range] = field(default_factory=list)
    is_up: bool = False
    is_leaving: bool = False
    is_kept: bool = False
    """It gets nothing new until a cell can be tried on it alone."""
    is_fresh: bool = True
    """It was never given anything."""
    stays: bool = False
    """It is left to its node's end."""
    ends: float | None = None

    @property
    def room(self) -> int:
        """How many batches more it may be given; none beside a cell that is tried alone."""
        if not self.is_up or self.is_leaving or self.is_kept or any(batch.alone for batch in self.batches):
            return 0
        return IN_FLIGHT - len(self.batches)
