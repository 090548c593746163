"""Ray actors as workers: on this machine by default, on any Ray cluster by its address.

Ray restarts nothing and retries nothing here: the runner judges failures, so an actor that ends is reported
with the reason (its process or its node) and a new one is started in its place. What comes back from actors
is put on one queue as it comes, so that ten thousand of them cost no more to wait for than ten.
"""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Literal

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError, RayTaskError

from chunkflow.engine.planning.plan import Plan, spec_of
from chunkflow.engine.pool.executor import BatchDone, Gone, Happening, Leaving, Up
from chunkflow.engine.pool.slots import IN_FLIGHT
from chunkflow.engine.pool.staff import needs
from chunkflow.engine.queue.cells import Cause, Range
from chunkflow.errors import BadInput, WorkerLost
from chunkflow.resources import Resources
from cluster.workers.actor import HEARTBEAT, NOTICE, Actor

THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
FAILED_STARTS = 10
DOUBT_SECONDS = 60.0
LEAVE_SECONDS = 5.0
TOLD_HEARTBEATS = 3
"""A worker is told so often that its runner lives: of many thousands not every heartbeat."""
TOLD_AT_ONCE = 500


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of an actor's method that has not come back."""

    worker: str
    what: Literal["greet", "leaving", "process"]
    batch: Range | None = None


@dataclass
class _Known:
    """One worker, from its start to its end."""

    actor: Any
    kind: int
    calls: set[_Call] = field(default_factory=set)
    pid: int | None = None
    """Its process on its own node, once it is up."""
    leaving: bool = False
    doubted: float | None = None
    """Since when its connection is broken."""
    told: float = float("-inf")


class RayExecutor:
    """Starts, feeds and watches the actors of one pool."""

    def __init__(self, plan: Plan, owner: str = "") -> None:
        """`owner` is the run's, as which its workers write."""
        self._owner = owner
        self._spec = ray.put(spec_of(plan).model_dump(mode="json"))
        self._sources = plan.job.sources()
        self._classes = [_class_for(taken) for taken in plan.worker_kinds]
        self._heartbeat_seconds = TOLD_HEARTBEATS * plan.job.heartbeat
        self._known: dict[str, _Known] = {}
        self._back: SimpleQueue[tuple[_Call, Future[Any]]] = SimpleQueue()
        self._failed_starts = [0] * len(plan.worker_kinds)
        """In a row, of each kind of worker."""
        self._pool = secrets.token_hex(2)  # several pools may share a queue, and names are in the ledger
        self._count = 0
        self._lock = threading.Lock()

    @property
    def pids(self) -> dict[str, int]:
        """The process of each worker that is up, on its own node."""
        with self._lock:
            return {name: known.pid for name, known in self._known.items() if known.pid is not None}

    def start_worker(self, kind: int = 0) -> str:
        name = f"worker-{self._pool}-{self._count}"
        self._count += 1
        known = _Known(self._classes[kind].remote(self._spec, self._sources, name, self._owner), kind)
        with self._lock:
            self._known[name] = known
        self._await(_Call(name, "greet"), known.actor.greet.remote())
        return name

    def submit(self, worker: str, batch: Range) -> None:
        reference = self._known[worker].actor.process.remote(batch)
        self._await(_Call(worker, "process", batch), reference)

    def _await(self, call: _Call, reference: Any) -> None:
        self._known[call.worker].calls.add(call)
        reference.future().add_done_callback(lambda future: self._back.put((call, future)))

    def wait(self, seconds: float) -> list[Happening]:
        events: list[Happening] = []
        try:
            call, future = self._back.get(timeout=seconds)
            while True:
                events += self._take(call, future)
                call, future = self._back.get_nowait()
        except Empty:
            return events

    def _take(self, call: _Call, future: Future[Any]) -> list[Happening]:
        known = self._known.get(call.worker)
        if known is None or call not in known.calls:
            return []  # it was ended, or given up
        known.calls.remove(call)
        try:
            result = future.result()
        except ActorUnavailableError as error:
            return self._doubt(call.worker, known, error)
        except (RayActorError, OutOfMemoryError) as error:
            return self._lost(call.worker, error, cause_of_loss(error))
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, BadInput) else error from None
        if call.batch is not None:
            return [BatchDone(call.worker, call.batch, result)]
        if call.what == "leaving":
            known.leaving = True
            return [Leaving(call.worker)]
        if known.doubted is not None:  # alive, but what it answered is lost
            broken = ConnectionError("the connection to the worker broke")
            return self._lost(call.worker, broken, Cause.NODE_LOST)
        known.pid = result.pid
        self._failed_starts[known.kind] = 0
        self._await(_Call(call.worker, "leaving"), known.actor.leaving.remote())
        return [Up(call.worker, result.ends)]

    def _doubt(self, worker: str, known: _Known, error: Exception) -> list[Happening]:
        """The connection broke: what comes of the next call tells whether the process or its node is gone."""
        known.doubted = known.doubted or time.monotonic()
        if time.monotonic() - known.doubted > DOUBT_SECONDS:
            return self._lost(worker, error, Cause.NODE_LOST)
        known.calls.clear()
        self._await(_Call(worker, "greet"), known.actor.greet.remote())
        return []

    def _lost(self, worker: str, error: Exception, cause: Cause) -> list[Happening]:
        known = self._known[worker]
        if known.pid is None:
            self._judge_start(known.kind, cause, error)
        if known.leaving and cause is not Cause.MEMORY:
            cause = Cause.PREEMPTED  # as was said; a node that is taken ends its processes one by one
        self._forget(worker)
        return [Gone(worker, cause, str(error))]

    def _judge_start(self, kind: int, cause: Cause, error: Exception) -> None:
        """A worker that never came up: its node may be gone or a bad one. Where no other of its kind is up,
        what fails in its own start fails again."""
        if any(other.kind == kind and other.pid is not None for other in self._known.values()):
            return
        if getattr(error, "actor_init_failed", False):
            raise WorkerLost(f"A worker cannot start: {error}") from error
        if cause in (Cause.CRASH, Cause.MEMORY):
            self._failed_starts[kind] += 1
        if self._failed_starts[kind] >= FAILED_STARTS:
            raise WorkerLost(f"{FAILED_STARTS} workers in a row ended while they started: {error}")

    def _forget(self, worker: str) -> None:
        with self._lock:
            known = self._known.pop(worker, None)
        if known is not None:
            ray.kill(known.actor, no_restart=True)

    def end_worker(self, worker: str) -> None:
        self._say_leave([worker])
        self._forget(worker)

    def _say_leave(self, workers: list[str]) -> None:
        """Let workers that are up tidy their node before they are killed; who does not answer is not waited
        for long."""
        if not self._sources:
            return
        with self._lock:
            known = [self._known[name] for name in workers if name in self._known]
        said = [one.actor.leave.remote() for one in known if one.pid is not None]
        if said:
            ray.wait(said, num_returns=len(said), timeout=LEAVE_SECONDS)

    def heartbeat(self) -> None:
        now = time.monotonic()
        with self._lock:
            due = (known for known in self._known.values() if now - known.told > self._heartbeat_seconds)
            told = list(islice(due, max(TOLD_AT_ONCE, len(self._known) // 8)))
        for known in told:
            known.told = now
            known.actor.heartbeat.remote()

    def close(self) -> None:
        self._say_leave(list(self._known))
        for worker in list(self._known):
            self._forget(worker)


def _class_for(taken: Resources) -> Any:
    """The actors of one kind. Workers with GPUs are placed by these alone: a node that just came may have its
    cores filled by plain workers, which came first, and its GPUs would wait. Their cores are left free of
    plain workers by how many there are (engine/pool/staff.py)."""
    asked = needs(taken)
    return ray.remote(
        num_cpus=0 if taken.gpus else asked["CPU"],
        num_gpus=asked.get("GPU", 0),
        memory=asked.get("memory"),
        max_restarts=0,
        max_task_retries=0,
        max_concurrency=IN_FLIGHT,
        concurrency_groups={HEARTBEAT: 1, NOTICE: 1},
        runtime_env={"env_vars": threads_of(taken)},
    )(Actor)


def threads_of(taken: Resources) -> dict[str, str]:
    """The environment in which libraries start as many threads as a worker has cores."""
    return dict.fromkeys(THREADS, str(max(1, int(taken.cpus))))


def cause_of_loss(error: Exception) -> Cause:
    """Why an actor ended. Ray itself waits for the node's end to be known before it says that.

    Ray's text for a process that died names the kernel's OOM killer among the possible reasons, always: only
    its own memory monitor is sure of that.
    """
    text = str(error)
    if isinstance(error, OutOfMemoryError) or "low on memory" in text:
        return Cause.MEMORY
    if getattr(error, "preempted", False):
        return Cause.PREEMPTED
    return Cause.NODE_LOST if "its node has died" in text else Cause.CRASH
