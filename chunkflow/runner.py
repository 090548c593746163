"""The runner: the one loop that a job has. It decides what is ready, judges failures, records, and ends.

1. Ready cells are put on the queue, no more than the pools will need soon, later stages first.
2. Answers come back: done cells are recorded and free those that wait for them; failed ones are judged.
3. What happened is written to the ledger every second or so; each segment written is also a sign of life,
   and is passed on to the workers, who write nothing for a runner that they no longer hear of.
4. It ends when nothing is ready, leased or waiting for another try: complete only if every cell is done.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence

import numpy as np

from chunkflow.errors import StorageError
from chunkflow.events import CellDone, CellFailed, Decided, Ended, Event, Listener, Started, Tick
from chunkflow.failure import Judge
from chunkflow.ledger import Ledger
from chunkflow.ledger_state import DONE
from chunkflow.plan import Plan
from chunkflow.pool import IN_HAND, Pool
from chunkflow.queue import Answer, Cause, Queue, Range
from chunkflow.schedule import LEASED, WAITING, Schedule

MOST_AHEAD = 8192
"""Cells on the queue at most: enough for a second or two of the quickest tasks."""
DRAIN_SECONDS = 120.0
LEDGER_PATIENCE_HEARTBEATS = 10


class Runner:
    """Runs one plan to its end."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        queue: Queue,
        pool: Pool,
        workers: int,
        listeners: Sequence[Listener] = (),
        backoff: float = 1.0,
    ) -> None:
        self._plan, self._ledger, self._queue, self._pool = plan, ledger, queue, pool
        self._workers = workers
        self._listeners = listeners
        self._judge = Judge(backoff)
        self._schedule = Schedule(plan.stages)
        self._later: list[tuple[float, int, int, bool]] = []  # when, stage, cell, alone
        self._resting: set[tuple[int, int]] = set()  # leased cells that wait there for another attempt
        self._per_second = 0.0
        self._interrupted_at: float | None = None
        self._unwritten_since: float | None = None

    def interrupt(self) -> None:
        """Begin nothing new; finish or give back what is in flight, then end. May be called by a signal."""
        if self._interrupted_at is None:
            self._interrupted_at = time.monotonic()

    def run(self) -> str:
        """Run to the end; returns complete, incomplete or interrupted."""
        self._resume()
        self._pool.start()
        try:
            while not self._finished():
                self._step()
            status = self._status()
            self._ledger.record_ended(status)
            while not self._flush(now=True):
                pass
        finally:
            self._pool.stop()
        blocked = int(self._schedule.counts[:, WAITING].sum()) if status == "incomplete" else 0
        self._emit(Ended(status, self._schedule, blocked))
        return status

    def _resume(self) -> None:
        steps = [self._ledger.state.steps[stage.name] for stage in self._plan.stages]
        self._schedule.resume([step.states == DONE for step in steps], [step.empties for step in steps])
        self._emit(Started(self._plan, self._schedule, sum(step.done for step in steps)))
        for step in steps:
            if step.prepared is not None:
                self._emit(Decided(step.name, step.prepared))

    def _step(self) -> None:
        begin = time.monotonic()
        if self._interrupted_at is None:
            self._feed()
        elif not self._pool.draining:
            for lease in self._queue.withdraw():
                self._schedule.give_back(lease)
            self._pool.drain()
        answers = self._queue.answers(0.05)
        for answer in answers:
            self._take(answer)
        took = max(time.monotonic() - begin, 1e-3)
        self._per_second += 0.1 * (len(answers) / took - self._per_second)
        self._flush()
        if self._pool.error is not None:
            raise self._pool.error
        self._emit(Tick(self._schedule))

    def _feed(self) -> None:
        """Keep the queue as full as the pools will need within about a second."""
        self._put(self._rested())
        ahead = int(np.clip(self._per_second, self._workers * (IN_HAND + 1), MOST_AHEAD))
        if self._outstanding < ahead:
            self._put(self._schedule.take(ahead - self._outstanding))

    def _rested(self) -> list[Range]:
        """The cells whose next attempt is due."""
        now = time.monotonic()
        again = []
        while self._later and self._later[0][0] <= now:
            _, stage, cell, alone = heapq.heappop(self._later)
            if (stage, cell) in self._resting:
                self._resting.remove((stage, cell))
                again.append(self._schedule.lease_again(stage, cell, alone))
        return again

    @property
    def _outstanding(self) -> int:
        """Cells on the queue or in the hands of a pool."""
        return self._schedule.leased_count - len(self._resting)

    def _put(self, ranges: list[Range]) -> None:
        if ranges:
            self._queue.put(ranges)

    def _take(self, answer: Answer) -> None:
        """Hear an answer; a queue may bring one twice, or one that nobody waits for any more."""
        if answer.cause is not None:
            leased = self._schedule.state_of(answer.stage, answer.index) == LEASED
            if leased and (answer.stage, answer.index) not in self._resting:
                self._failed(answer)
            return
        self._resting.discard((answer.stage, answer.index))
        stage = self._plan.stages[answer.stage]
        if not self._schedule.done(answer.stage, answer.index, answer.empty):
            return
        if answer.values is not None:
            self._ledger.record_prepared(stage.name, answer.values)
            self._emit(Decided(stage.name, answer.values))
        self._ledger.record_done(
            stage.name,
            answer.index,
            attempt=self._judge.attempt(answer.stage, answer.index),
            empty=answer.empty,
            seconds=answer.seconds,
            bytes_in=answer.bytes_in,
            bytes_out=answer.bytes_out,
            worker=answer.worker,
            counts=answer.counts,
        )
        self._judge.forget(answer.stage, answer.index)
        self._emit(CellDone(answer))

    def _failed(self, answer: Answer) -> None:
        assert answer.cause is not None
        verdict = self._judge.judge(answer)
        if answer.cause is not Cause.GIVEN_BACK:
            self._ledger.record_failed(
                self._plan.stages[answer.stage].name,
                answer.index,
                attempt=verdict.charged,
                cause=str(answer.cause),
                traceback=answer.traceback,
                final=verdict.final,
                worker=answer.worker,
            )
            self._emit(CellFailed(answer, verdict.charged, verdict.final))
        if verdict.final:
            self._schedule.failed(answer.stage, answer.index)
        else:
            again = time.monotonic() + verdict.delay
            heapq.heappush(self._later, (again, answer.stage, answer.index, verdict.alone))
            self._resting.add((answer.stage, answer.index))

    def _flush(self, now: bool = False) -> bool:
        """Write to the ledger, and say whether it could be. A store that does not answer is to be asked
        again, until others may take over."""
        running = self._schedule.counts[:, LEASED].tolist()
        self._ledger.record_running(
            {stage.name: count for stage, count in zip(self._plan.stages, running, strict=True) if count}
        )
        try:
            if self._ledger.flush(now):
                self._pool.heard()
            self._unwritten_since = None
            return True
        except StorageError:
            self._unwritten_since = self._unwritten_since or time.monotonic()
            patience = LEDGER_PATIENCE_HEARTBEATS * self._plan.job.heartbeat
            if time.monotonic() - self._unwritten_since > patience:
                raise
            time.sleep(min(1.0, self._plan.job.heartbeat / 5))
            return False

    def _finished(self) -> bool:
        if self._interrupted_at is not None:
            late = time.monotonic() - self._interrupted_at > DRAIN_SECONDS
            return late or (self._pool.draining and self._outstanding <= 0)
        return self._schedule.ready_count == 0 and self._schedule.leased_count == 0

    def _status(self) -> str:
        if self._schedule.complete:
            return "complete"
        return "interrupted" if self._interrupted_at is not None else "incomplete"

    def _emit(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
