"""Runner: the one loop of a job, which offers ready cells, hears answers and records them.

1. Ready cells are put on the queue for each kind of worker, no more than the pools will need soon (feed.py),
   later stages first.
2. Answers come back: done cells are recorded and free those that wait for them; failed ones are tried again
   or set aside (retry_policy.py).
3. What happened is written to the ledger every second or so; each segment written is also a heartbeat,
   passed on to the workers, whose writes are fenced off once heartbeats stop.
4. It ends when nothing is ready, leased or waiting for another try: complete only if every cell is done.
5. Once it is interrupted, by whoever calls `interrupt` or by a file `stop` in the work folder, it begins
   nothing new: what is on the queue is withdrawn, what is in flight is waited for, unless `stop` is called
   as well.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.heartbeat import LEDGER_PATIENCE_HEARTBEATS, STOP
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import DONE
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.pool.slots import IN_FLIGHT
from chunkflow.engine.queue.cells import Answer, Cause, Range
from chunkflow.engine.queue.feed import Feed
from chunkflow.engine.queue.queue import Queue
from chunkflow.engine.queue.schedule import LEASED, WAITING, Schedule
from chunkflow.engine.run.events import (
    CellAgain,
    CellDone,
    CellFailed,
    Decided,
    Ended,
    Event,
    Listener,
    Started,
    Tick,
)
from chunkflow.engine.run.retry_policy import RetryPolicy
from chunkflow.errors import Interrupted, StorageError

STOPPED = "Interrupted at once; what was recorded is kept."
BEAT_SECONDS = 0.05
"""How often what does not depend on answers is looked after."""
DRAIN_SECONDS = 120.0
DRAIN_FACTOR = 2.0
"""What is in flight is waited for so many times as long as the slowest chunks yet would take, if that is
longer than DRAIN_SECONDS."""


class Runner:
    """Runs one plan to its end."""

    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        queue: Queue,
        pool: Pool,
        listeners: Sequence[Listener] = (),
        backoff: float = 1.0,
    ) -> None:
        self._plan, self._ledger, self._queue, self._pool = plan, ledger, queue, pool
        self._listeners = listeners
        self._folder = Folder(plan.work)
        self._retry_policy = RetryPolicy(backoff)
        self._schedule = Schedule(plan.stages)
        self._later: list[tuple[float, int, int, bool]] = []  # when, stage, cell, alone
        self._resting: set[tuple[int, int]] = set()  # leased cells that wait there for another attempt
        self._feeds = [Feed(size) for size in pool.sizes]
        self._beaten = self._looked = 0.0
        self._interrupted_at: float | None = None
        self._why, self._told, self._stopped = "interrupted", False, False
        self._passed_on = 0
        """Segments of the ledger when the pool was told last that this runner lives."""

    def interrupt(self, why: str = "interrupted") -> None:
        """Begin nothing new; finish or give back what is in flight, then end with this status. May be
        called from any thread, and by a signal."""
        if self._interrupted_at is None:
            self._why = why
            self._interrupted_at = time.monotonic()

    def stop(self) -> None:
        """End at once, whatever is in flight: `run` raises Interrupted. May be called as `interrupt` may."""
        self._stopped = True

    def run(self) -> str:
        """Run to the end; returns complete, incomplete or why it was interrupted. Raises Interrupted where it
        was stopped at once."""
        try:
            self._resume()
            self._pool.start()
            while not self._finished():
                if self._stopped:
                    self._ledger.record_ended("interrupted")
                    raise Interrupted(STOPPED)
                self._step()
            status = self._status()
            self._ledger.record_ended(status)
            while not self._flush(now=True):
                if self._stopped:
                    raise Interrupted(STOPPED)
        finally:
            self._pool.stop()
        blocked = int(self._schedule.counts[:, WAITING].sum()) if status == "incomplete" else 0
        self._emit(Ended(status, self._schedule, blocked))
        return status

    def _resume(self) -> None:
        records = [self._ledger.state.stages[stage.name] for stage in self._plan.stages]
        self._schedule.resume(
            [record.states == DONE for record in records], [record.empties for record in records]
        )
        self._emit(Started(self._plan, self._schedule, sum(record.done for record in records)))
        for record in records:
            if record.prepared is not None:
                self._emit(Decided(record.name, record.prepared))

    def _step(self) -> None:
        if self._interrupted_at is None:
            self._feed()
        else:
            self._drain()
        for answer in self._queue.answers(BEAT_SECONDS):
            self._feeds[self._plan.stages[answer.stage].worker_kind].answered(1)
            self._take(answer)
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            self._beat()

    def _beat(self) -> None:
        self._beaten = time.monotonic()
        self._flush()
        if self._pool.error is not None:
            raise self._pool.error
        if self._beaten - self._looked >= self._plan.job.heartbeat:
            self._looked = self._beaten
            if self._asked_to_stop():
                self.interrupt()
        self._emit(Tick(self._schedule))

    def _asked_to_stop(self) -> bool:
        try:
            return self._folder.exists(STOP)
        except StorageError:  # it is asked again, and the ledger will say what is wrong
            return False

    def _feed(self) -> None:
        """Keep as much on the queue for each kind of worker as the pools will need within about a second."""
        offered = self._rested()
        backlog = self._queue.backlog()
        for kind, feed in enumerate(self._feeds):
            wanted = feed.wanted(backlog[kind], self._schedule.ready(kind))
            if wanted > 0:
                offered += self._schedule.take(wanted, kind)
        if offered:
            self._queue.put(offered)

    def _drain(self) -> None:
        """Take back what no pool has begun."""
        if not self._pool.draining:
            self._pool.drain()
        if self._plan.job.queue and not self._told:
            self._tell_pools()
        for lease in self._queue.withdraw():
            self._schedule.give_back(lease)

    def _tell_pools(self) -> None:
        """Pools of other clusters learn by a file that they are to drain; it is not for those of another
        runner, which may have taken over."""
        if not self._flush(now=True):
            return
        try:
            self._folder.put(STOP, b"")
            self._told = True
        except StorageError:  # it is tried again, and the ledger will say what is wrong
            pass

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
        """Cells on the queue or leased by a pool."""
        return self._schedule.leased_count - len(self._resting)

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
            self._ledger.record_again(stage.name, answer)
            self._emit(CellAgain(answer))
            return
        if answer.values is not None:
            self._ledger.record_prepared(stage.name, answer.values)
            self._emit(Decided(stage.name, answer.values))
        self._ledger.record_done(stage.name, answer, self._retry_policy.attempt(answer.stage, answer.index))
        self._retry_policy.forget(answer.stage, answer.index)
        self._emit(CellDone(answer))

    def _failed(self, answer: Answer) -> None:
        assert answer.cause is not None
        verdict = self._retry_policy.decide(answer)
        if answer.cause is not Cause.GIVEN_BACK:
            name = self._plan.stages[answer.stage].name
            self._ledger.record_failed(name, answer, verdict.charged, verdict.final)
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
            self._ledger.flush(now)
            if self._ledger.segments != self._passed_on:  # the ledger's own heartbeats count, too
                self._passed_on = self._ledger.segments
                self._pool.heartbeat()
            return True
        except StorageError:
            if self._ledger.seconds_since_written > LEDGER_PATIENCE_HEARTBEATS * self._plan.job.heartbeat:
                raise
            time.sleep(min(1.0, self._plan.job.heartbeat / 5))
            return False

    def _finished(self) -> bool:
        if self._interrupted_at is not None:
            late = time.monotonic() - self._interrupted_at > self._drain_seconds
            return late or (self._pool.draining and self._outstanding <= 0)
        return self._schedule.ready_count == 0 and self._schedule.leased_count == 0

    @property
    def _drain_seconds(self) -> float:
        slowest = max((record.slowest for record in self._ledger.stages.values()), default=0.0)
        return max(DRAIN_SECONDS, DRAIN_FACTOR * IN_FLIGHT * slowest)

    def _status(self) -> str:
        if self._schedule.complete:
            return "complete"
        return self._why if self._interrupted_at is not None else "incomplete"

    def _emit(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
