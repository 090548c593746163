"""A pool: the workers of one cluster. It leases ranges, keeps the workers busy, and answers.

1. For each kind of worker there is a crew (crew.py), which says who is given what. Ranges are leased only as
   workers have room, and cut into batches: one cell where a cell takes long, many where they are quick, so
   that handing out never costs more than doing.
2. Every worker that is up has a few batches in flight, so that it can read the next while it maps this one.
3. What a lost worker had in flight is answered as such; a new worker takes its place. One that leaves is
   given nothing new, and is ended when it has nothing in flight.
4. A worker that answers nothing for the longer of `patience` seconds and 20 times its batch's expected
   time is ended.
5. An elastic pool starts workers while more waits than those who are there will soon begin, and ends those
   that had nothing to do for a while, so that the cluster may shrink.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from chunkflow.engine.pool.crew import Crew
from chunkflow.engine.pool.executor import BatchDone, Executor, Happening, Leaving, Up
from chunkflow.engine.queue.cells import Answer, Cause, Range
from chunkflow.engine.queue.queue import Queue

PATIENCE = 600.0
LOOK_SECONDS = 0.2
"""How often a pool looks at all of its workers and at the backlog."""
STARTS_AT_ONCE = 100
"""Workers started before what happened meanwhile is heard."""


class Pool:
    """Pool of up to `sizes[kind]` workers of each kind, kept busy with what a queue offers.

    It has a thread of its own. With `idle_seconds` it is elastic, else all workers are there from the start
    to the end.
    """

    def __init__(
        self,
        queue: Queue,
        executor: Executor,
        sizes: Sequence[int],
        patience: float = PATIENCE,
        idle_seconds: float | None = None,
    ) -> None:
        self.sizes = tuple(sizes)
        self.error: BaseException | None = None
        """What ended the pool, if anything did."""
        self._queue, self._executor = queue, executor
        self._patience, self._idle_seconds = patience, idle_seconds
        self._crews = [Crew(size) for size in sizes]
        self._crew_of: dict[str, Crew] = {}
        self._looked = 0.0
        self._draining, self._drained, self._stopped = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="pool", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def heartbeat(self) -> None:
        """The runner lives and holds the work folder."""
        self._executor.heartbeat()

    def drain(self) -> None:
        """Take nothing new; what is not begun is given back to the queue, what is in flight is finished."""
        self._draining.set()

    def stop(self) -> None:
        """End all workers, whatever they do."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._executor.close()

    @property
    def draining(self) -> bool:
        return self._draining.is_set()

    @property
    def drained(self) -> bool:
        """Whether it drains and has nothing left: all is answered or given back."""
        return self._drained.is_set()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._look_round()
                if self._draining.is_set():
                    self._put_down()
                else:
                    self._work()
                for event in self._executor.wait(0.05):
                    self._note(event)
        except BaseException as error:  # the runner must hear of it, whatever it is
            self.error = error

    def _work(self) -> None:
        """Lease what there is room for, and hand it out."""
        for kind, crew in enumerate(self._crews):
            if (room := crew.room()) > 0:
                crew.add(self._queue.lease(room, kind))
            for worker, batch in crew.assign():
                self._executor.submit(worker, batch)
            self._give_back(crew.surplus())
            self._end_departed(crew)

    def _put_down(self) -> None:
        for crew in self._crews:
            self._give_back(crew.put_down())
            self._end_departed(crew)
        if not any(slots.batches for crew in self._crews for slots in crew.workers.values()):
            self._drained.set()

    def _give_back(self, ranges: Sequence[Range]) -> None:
        if ranges:
            self._queue.give_back(ranges)

    def _look_round(self) -> None:
        """Start whom is missing, and end whom is silent or needless; now and then, as it goes through all."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        backlog = [0] * len(self._crews) if self._draining.is_set() else self._queue.backlog()
        for kind in reversed(range(len(self._crews))):  # the plain workers may run anywhere: they come last
            crew = self._crews[kind]
            crew.look_round(backlog[kind])
            for worker, limit in crew.silent(self._patience).items():
                self._executor.end_worker(worker)
                why = f"no word from the worker for {limit:.0f} s; it was ended"
                self._lost(worker, Cause.SILENT, why)
            if not self._draining.is_set():
                self._staff(kind, crew)

    def _staff(self, kind: int, crew: Crew) -> None:
        if self._idle_seconds is not None:
            for worker in crew.needless(self._idle_seconds):
                self._end(crew, worker)
        missing = crew.missing(self._idle_seconds is not None)
        if missing > STARTS_AT_ONCE:
            self._looked = 0.0  # the others at the next turn
        for _ in range(min(missing, STARTS_AT_ONCE)):
            worker = self._executor.start_worker(kind)
            crew.started(worker)
            self._crew_of[worker] = crew

    def _end_departed(self, crew: Crew) -> None:
        for worker in crew.departed():
            self._end(crew, worker)

    def _end(self, crew: Crew, worker: str) -> None:
        """End a worker that has nothing in flight."""
        self._executor.end_worker(worker)
        crew.lost(worker)
        del self._crew_of[worker]

    def _note(self, event: Happening) -> None:
        crew = self._crew_of.get(event.worker)
        if crew is None:
            return  # it was ended, and answered for
        if isinstance(event, BatchDone):
            self._queue.answer(event.answers)
            crew.finished(event.worker, event.batch, event.answers)
        elif isinstance(event, Up):
            crew.came_up(event.worker, event.ends)
        elif isinstance(event, Leaving):
            crew.leaves(event.worker)
        else:
            self._lost(event.worker, event.cause, event.detail)

    def _lost(self, worker: str, cause: Cause, detail: str) -> None:
        """Answer for the cells that a worker had in flight; a cell was alone where nothing else was."""
        crew = self._crew_of.pop(worker)
        if cause in (Cause.PREEMPTED, Cause.NODE_LOST) and (seconds := crew.too_long(worker)):
            cause = Cause.TIME
            detail = (
                f"this takes longer than the {seconds / 60:.1f} min that a worker has before its node ends: "
                f"give the nodes a longer walltime, or the job smaller chunks ({detail})"
            )
        batches = crew.lost(worker)
        alone = sum(len(batch) for batch in batches) == 1
        answers = [
            Answer(batch.stage, index, worker, cause, alone, traceback=detail)
            for batch in batches
            for index in range(batch.start, batch.stop)
        ]
        if answers:
            self._queue.answer(answers)
        self._looked = 0.0  # so that another is started at once
