"""Ledger of a job: the cells that are done, from which it is resumed, shown and reported.

1. the runner calls a `record_...` method, which only buffers;
2. `flush`, called often by the runner's loop, writes what is buffered as one segment of the chain, at most
   one a second, or an empty one when a heartbeat is due;
3. a segment that is made is applied to `state`; what is only buffered is lost if the runner dies.

A stage is a name and a number of cells: chunks of a task, blocks of its tree of parts, its ranges of ids.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.chain import Chain
from chunkflow.engine.ledger.done_batch import DoneBatch
from chunkflow.engine.ledger.heartbeat import Heartbeat
from chunkflow.engine.ledger.packing import pack_indexes
from chunkflow.engine.ledger.record import JobRecord
from chunkflow.engine.ledger.segment import LedgerSegment, Record
from chunkflow.engine.ledger.state import StageRecord, State
from chunkflow.engine.queue.cells import Answer
from chunkflow.errors import BadInput, StorageError

Indexes = Iterable[int] | NDArray[np.integer[Any]]
PACE = 1.0  # seconds between two segments, unless much is buffered
MANY = 5000  # cells that are written without waiting for the pace
_TRACEBACK = 8000  # characters kept of a traceback, from its end


class Ledger:
    """The ledger of one work folder, loaded to be read or opened to be written."""

    def __init__(self, chain: Chain, state: State) -> None:
        """For `load` to call."""
        self.state = state
        self.took_over = False  # whether the writer before did not close: its workers may still write
        self.before_close: Callable[[], None] = lambda: None  # what its writer does first in the end
        self._chain = chain
        self._records: list[Record] = []
        self._batches: dict[str, DoneBatch] = {}
        self._waiting, self._written = 0, 0.0  # cells in the batches; when records were written last
        self._cells: dict[str, int] = {}  # of the stages, those included that are only buffered
        self._running: dict[str, int] = {}
        self._lock = threading.RLock()  # for what the heartbeat's thread writes, too
        self._heartbeat = Heartbeat(self._beat)

    @staticmethod
    def load(folder: Folder, prefix: str = "ledger", tolerant: bool = False) -> Ledger:
        """Read a ledger, whoever may be writing it; `refresh` reads on. An empty folder gives an empty
        state. A `tolerant` reader passes over what cannot be read; `damaged` tells of it."""
        ledger = Ledger(Chain(folder, prefix, tolerant=tolerant), State())
        ledger._load()
        if tolerant:
            ledger._chain.verify(State.decode)
        return ledger

    def take(
        self, heartbeat: float = 5.0, lease: float = 4.0, say: Callable[[str], None] = lambda _: None
    ) -> Ledger:
        """Read what was written since the ledger was loaded, and become its writer; returns itself.

        Raises BadInput where the store has no conditional put, and chain.Held while another runner's lease
        lasts: for `lease` of its heartbeats after its last segment. `say` is told before it is waited for.
        """
        self._chain.folder.check_conditional_put()
        self._chain.heartbeat = heartbeat
        self.refresh()
        before = self._chain.last
        for segment in self._chain.take(lease, say=say):
            self.state.apply(segment)
            before = segment
        self.took_over = before is not None and before.kind != "closed"
        assert self._chain.last is not None
        self._apply(self._chain.last)
        self._cells = {name: stage.cells for name, stage in self.state.stages.items()}
        self._heartbeat.start(heartbeat)
        return self

    def refresh(self) -> State:
        """Read what was written since (when only reading) and return the state."""
        if self._chain.is_behind() or self._chain.is_rewritten():
            self._load()
        else:
            for segment in self._chain.follow():
                self.state.apply(segment)
        return self.state

    @property
    def stages(self) -> Mapping[str, StageRecord]:
        """The stages by name, as the written records have them."""
        return self.state.stages

    @property
    def segments(self) -> int:
        """How many segments the chain had when it was last read or written."""
        return self._chain.number

    @property
    def owner(self) -> str:
        """An id that no other writer has; empty while only reading."""
        return self._chain.writer.id if self._chain.writer is not None else ""

    @property
    def damaged(self) -> list[str]:
        """Sentences on the files that were passed over when the ledger was loaded."""
        return list(self._chain.damaged.values())

    def mend(self) -> None:
        """Replace what is damaged of the chain, once the state without it is as it should be."""
        self._chain.mend()

    @property
    def seconds_since_written(self) -> float:
        """How long ago this writer's last segment was made."""
        return self._chain.seconds_since_append()

    @property
    def is_writing(self) -> bool:
        """Whether this process may still write: opened, not closed and not overtaken."""
        return self._chain.writer is not None

    def record_job(self, job: JobRecord, versions: Mapping[str, Any], stages: Mapping[str, int]) -> None:
        """Record the job, the versions that run it, and its stages with their numbers of cells, in order."""
        self._add({"kind": "job", "job": job.model_dump(mode="json"), "versions": versions})
        for name, cells in stages.items():
            self.record_stage(name, cells)

    def record_stage(self, name: str, cells: int) -> None:
        """Record a stage that is known only later; for one that is there it must have as many cells."""
        if (known := self._cells.setdefault(name, cells)) != cells:
            raise BadInput(f"stage {name} has {known} chunks in the ledger, not {cells}: clear it")
        self._add({"kind": "step", "step": name, "units": cells})

    def record_created(self, url: str, step: str) -> None:
        """Record a layer or table that `step` is about to make. Call `flush(now=True)` before making it."""
        self._add({"kind": "created", "url": url, "step": step})

    def record_staged(self, urls: Sequence[str]) -> None:
        """Record where this writer has made its staging folders. They may be used after `flush(now=True)`."""
        self._add({"kind": "staged", "owner": self.owner, "urls": list(urls)})

    def record_unstaged(self, owner: str) -> None:
        """Record that an owner's staging folders are closed off."""
        self._add({"kind": "unstaged", "owner": owner})

    def record_prepared(self, stage: str, values: Mapping[str, Any]) -> None:
        """Record the values that `prepare` decided; JSON values, as they are given back on a resume."""
        self._check(stage, ())
        self._add({"kind": "prepared", "step": stage, "values": values})

    def record_done(self, stage: str, answer: Answer, attempt: int = 1) -> None:
        """Record that a cell is finished and written, at this attempt of those that are charged."""
        self._check(stage, (answer.index,))
        if (batch := self._batches.get(stage)) is None:
            batch = self._batches[stage] = DoneBatch()
        batch.add(answer, attempt)
        self._waiting += 1

    def record_again(self, stage: str, answer: Answer) -> None:
        """Record that a finished cell was done once more; it does not count."""
        self._check(stage, (answer.index,))
        self._add({"kind": "again", "step": stage, "index": answer.index, "worker": answer.worker})

    def record_failed(self, stage: str, answer: Answer, attempt: int, final: bool) -> None:
        """Record a failed attempt; `final` sets the cell aside. `attempt` counts those that are charged."""
        self._check(stage, (answer.index,))
        came = {"attempt": attempt, "cause": str(answer.cause), "final": final, "worker": answer.worker}
        traceback = answer.traceback[-_TRACEBACK:]
        self._add({"kind": "failed", "step": stage, "index": answer.index, "traceback": traceback, **came})

    def record_retried(self, stage: str, indexes: Indexes) -> None:
        """Record that cells that were set aside are tried again, their attempts counted from none."""
        self._record_indexes("retried", stage, indexes)

    def record_undone(self, stage: str, indexes: Indexes) -> None:
        """Record that finished cells are to be done again, as what they wrote is missing or damaged."""
        self._record_indexes("undone", stage, indexes)

    def record_running(self, counts: Mapping[str, int]) -> None:
        """Note how many cells of each stage are under work; written along with the next segment."""
        self._running = dict(counts)

    def record_clearing(self, steps: Sequence[str]) -> None:
        """Record that the outputs of steps will be deleted. Call `flush(now=True)` before deleting."""
        self._add({"kind": "clearing", "steps": list(steps)})

    def record_cleared(self, names: Sequence[str]) -> None:
        """Record that they are deleted: steps and stages are forgotten. To run them, record them again."""
        self._add({"kind": "cleared", "steps": list(names)})
        for name in names:
            self._cells.pop(name, None)

    def record_ended(self, status: str) -> None:
        """Record how this run ended: complete, incomplete or interrupted."""
        self._add({"kind": "ended", "status": status})

    def flush(self, now: bool = False) -> bool:
        """Write what is buffered, or a heartbeat that is due; return whether a segment was written.

        Raises Overtaken where another has the ledger. After a StorageError nothing is lost: flush again.
        """
        with self._lock:
            self.check()
            return self._flush(now)

    def check(self) -> None:
        """Raise what ended the heartbeat: Overtaken where another runner has the ledger."""
        self._heartbeat.check()

    def _beat(self) -> None:
        """Write a heartbeat if one is due, whatever the runner is at; what is buffered it writes itself."""
        with self._lock, suppress(StorageError):  # the runner tries again, and says what is wrong
            if self.is_writing:
                self._settle()
                if self._chain.seconds_since_append() >= self._chain.heartbeat:
                    self._apply(self._chain.append([]))

    def _settle(self) -> bool:
        if (settled := self._chain.settle()) is not None:
            self._apply(settled)
        return settled is not None

    def _flush(self, now: bool) -> bool:
        settled = self._settle()
        ripe = time.monotonic() - self._written >= min(PACE, self._chain.heartbeat)  # heartbeats do not count
        due = bool(self._records or self._batches) and (now or ripe or self._waiting >= MANY)
        if not due and self._chain.seconds_since_append() < self._chain.heartbeat:
            return settled
        self._close_batches()
        if self._running:
            self._records.append({"kind": "running", "counts": self._running})
        # The chain holds the records from here on, also when the append fails.
        records, self._records, self._waiting = self._records, [], 0
        self._written = time.monotonic()
        self._apply(self._chain.append(records))
        return True

    def close(self) -> None:
        """Write what is buffered and let another runner follow at once; after Overtaken write nothing."""
        try:
            try:
                if self.is_writing:
                    self.flush(now=True)
            finally:
                self.before_close()
            with self._lock, suppress(StorageError):  # all that matters is recorded
                if self.is_writing:
                    self._apply(self._chain.close(self._records))
        finally:
            self._heartbeat.stop()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close()

    def _load(self) -> None:
        state, segments = self._chain.load(State.decode)
        self.state = state or State()
        for segment in segments:
            self.state.apply(segment)
        self._cells = {name: stage.cells for name, stage in self.state.stages.items()}

    def _apply(self, segment: LedgerSegment) -> None:
        self.state.apply(segment)
        if self._chain.snapshot_due():
            self._chain.keep(self.state.encode())

    def _record_indexes(self, kind: str, stage: str, indexes: Indexes) -> None:
        named = [int(index) for index in indexes]
        self._check(stage, named)
        self._add({"kind": kind, "step": stage, "index": pack_indexes(named)})

    def _add(self, record: Record) -> None:
        """Buffer a record after the cells that were finished before it, as JSON will give it back."""
        self._close_batches()
        self._records.append(json.loads(json.dumps(record)))

    def _check(self, stage: str, indexes: Sequence[int]) -> None:
        """Refuse what could not be applied: written once, it would spoil the ledger for every reader."""
        if stage not in self._cells:
            raise ValueError(f"stage {stage} is not in the ledger")
        cells = self._cells[stage]
        if indexes and not 0 <= min(indexes) <= max(indexes) < cells:
            raise ValueError(f"{stage} has cells 0 to {cells - 1}, not {min(indexes)} to {max(indexes)}")

    def _close_batches(self) -> None:
        self._records += [batch.record(stage) for stage, batch in self._batches.items()]
        self._batches = {}
