"""Batch of finished cells of a stage, which becomes one record of the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from chunkflow.engine.ledger.packing import pack_digests, pack_indexes
from chunkflow.engine.ledger.segment import Record
from chunkflow.engine.queue.cells import Answer


@dataclass
class DoneBatch:
    """Finished cells of one stage, not yet written."""

    index: list[int] = field(default_factory=list)
    attempts: dict[int, list[int]] = field(default_factory=dict)  # of the cells that took not one
    empty: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    slowest: float = 0.0
    bytes: list[int] = field(default_factory=lambda: [0, 0])
    workers: dict[str, list[float]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    digests: list[int] = field(default_factory=list)

    def add(self, answer: Answer, attempt: int) -> None:
        self.index.append(answer.index)
        self.digests.append(answer.digest)
        if attempt != 1:
            self.attempts.setdefault(min(attempt, 255), []).append(answer.index)
        if answer.empty:
            self.empty.append(answer.index)
        for place, seconds in enumerate(answer.seconds):
            self.seconds[place] += seconds
        self.slowest = max(self.slowest, answer.seconds[1])
        self.bytes[0] += answer.bytes_in
        self.bytes[1] += answer.bytes_out
        if answer.counts:
            self.counts.update(answer.counts)
        share = self.workers.setdefault(answer.worker, [0, 0.0])
        share[0] += 1
        share[1] += sum(answer.seconds)

    def record(self, stage: str) -> Record:
        return {
            "kind": "done",
            "step": stage,
            "index": pack_indexes(self.index),
            "attempts": [[attempt, pack_indexes(among)] for attempt, among in self.attempts.items()],
            "empty": pack_indexes(self.empty),
            "seconds": [round(value, 4) for value in self.seconds],
            "slowest": round(self.slowest, 4),
            "bytes": self.bytes,
            "workers": {name: [cells, round(took, 4)] for name, (cells, took) in self.workers.items()},
            "counts": self.counts,
            "digests": pack_digests(self.index, self.digests),
        }
