"""Ray actors as workers: on this machine by default, on any Ray cluster by its address.

Ray restarts nothing and retries nothing here: the runner judges failures, so an actor that ends is reported
with the reason (its process or its node) and a new one is started in its place.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError, RayTaskError

from chunkflow.errors import BadInput, WorkerLost
from chunkflow.plan import plan_of_spec
from chunkflow.pool import IN_HAND, Finished, Gone, Happening, Up
from chunkflow.queue import Answer, Cause, Range
from chunkflow.worker import Worker

Sources = dict[str, bytes]
"""The user's own modules, by their path relative to the folder they are imported from."""

ONE_THREAD = dict.fromkeys(
    ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
LOCAL_STORE_BYTES = 128 * 1024**2
FAILED_STARTS = 10
DOUBT_SECONDS = 60.0
LEAVE_SECONDS = 5.0


def start_ray(address: str | None, workers: int) -> int:
    """Connect to a cluster, or start one on this machine; returns the number of workers it can hold."""
    if ray.is_initialized():
        return workers
    if address is None:
        ray.init(
            address="local",
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=LOCAL_STORE_BYTES,
        )
        return workers
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BadInput(f"No Ray cluster answers at {address}: {error}") from error
    return workers or int(ray.cluster_resources().get("CPU", 1))


class _Actor:
    """One worker process. Its methods run in threads: a few batches at once, and the runner's word beside."""

    def __init__(self, spec: dict[str, Any], sources: Sources, name: str) -> None:
        self._folder = _importable(sources) if sources else None
        self._worker = Worker(plan_of_spec(spec), name)

    def pid(self) -> int:
        return os.getpid()

    def process(self, batch: Range) -> list[Answer]:
        return [
            self._worker.process(batch.stage, index, batch.skip, batch.alone)
            for index in range(batch.start, batch.stop)
        ]

    def heard(self) -> None:
        self._worker.heard()

    def leave(self) -> None:
        """Remove what this worker laid on its node: one that is killed runs nothing at its exit."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _importable(sources: Sources) -> Path:
    """Lay modules where they can be imported, after all that is installed: as where the job was started, a
    file beside the job may bear the name of a package and is not taken for it."""
    folder = Path(tempfile.mkdtemp(prefix="chunkflow-tasks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path, data in sources.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    sys.path.append(str(folder))
    return folder


class RayExecutor:
    """Starts, feeds and watches the actors of one job."""

    def __init__(self, spec: dict[str, Any], sources: Sources | None = None, cpus: float = 1.0) -> None:
        self._spec = ray.put(spec)
        self._sources = sources or {}
        self._class = ray.remote(
            num_cpus=cpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=IN_HAND,
            concurrency_groups={"word": 1},
            runtime_env={"env_vars": ONE_THREAD},
        )(_grouped(_Actor))
        self._actors: dict[str, Any] = {}
        self.pids: dict[str, int] = {}
        """The process of each worker that is up, on its own node."""
        self._doubted: dict[str, float] = {}
        self._failed_starts = 0
        self._running: dict[Any, tuple[str, Range | None]] = {}
        self._count = 0
        self._lock = threading.Lock()

    def start_worker(self, kind: int = 0) -> str:
        name = f"worker-{self._count}"
        self._count += 1
        actor = self._class.remote(self._spec, self._sources, name)
        with self._lock:
            self._actors[name] = actor
        self._ask_pid(name)
        return name

    def submit(self, worker: str, batch: Range) -> None:
        self._running[self._actors[worker].process.remote(batch)] = (worker, batch)

    def wait(self, seconds: float) -> list[Happening]:
        if not self._running:
            threading.Event().wait(seconds)
            return []
        done, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        if done:  # take all that is ready, not one at a time
            done, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        events: list[Happening] = []
        for reference in done:
            if reference in self._running:
                events += self._take(reference)
        return events

    def _take(self, reference: Any) -> list[Happening]:
        worker, batch = self._running.pop(reference)
        try:
            result = ray.get(reference)
        except ActorUnavailableError as error:
            return self._doubt(worker, error)
        except (RayActorError, OutOfMemoryError) as error:
            return self._lost(worker, error, cause_of_loss(error))
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, BadInput) else error from None
        if batch is None:
            if worker in self._doubted:  # alive, but what it answered is lost
                return self._lost(
                    worker, ConnectionError("the connection to the worker broke"), Cause.NODE_LOST
                )
            self.pids[worker] = result
            self._failed_starts = 0
            return [Up(worker)]
        return [Finished(worker, batch, result)]

    def _doubt(self, worker: str, error: Exception) -> list[Happening]:
        """The connection broke: what comes of the next call tells whether the process or its node is gone."""
        if worker not in self._actors:
            return []
        since = self._doubted.setdefault(worker, time.monotonic())
        if time.monotonic() - since > DOUBT_SECONDS:
            return self._lost(worker, error, Cause.NODE_LOST)
        self._running = {ref: item for ref, item in self._running.items() if item[0] != worker}
        self._ask_pid(worker)
        return []

    def _ask_pid(self, worker: str) -> None:
        actor = self._actors[worker]
        self._running[actor.pid.options(concurrency_group="word").remote()] = (worker, None)

    def _lost(self, worker: str, error: Exception, cause: Cause) -> list[Happening]:
        if worker not in self._actors:
            return []
        if worker not in self.pids:
            self._judge_start(cause, error)
        self._forget(worker)
        return [Gone(worker, cause, str(error))]

    def _judge_start(self, cause: Cause, error: Exception) -> None:
        """A worker that never came up: its node may be gone, but what fails in its own start fails again."""
        if getattr(error, "actor_init_failed", False):
            raise WorkerLost(f"A worker cannot start: {error}") from error
        if cause in (Cause.CRASH, Cause.MEMORY):
            self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS:
            raise WorkerLost(f"{self._failed_starts} workers in a row ended while they started: {error}")

    def _forget(self, worker: str) -> None:
        with self._lock:
            actor = self._actors.pop(worker, None)
        self.pids.pop(worker, None)
        self._doubted.pop(worker, None)
        self._running = {ref: item for ref, item in self._running.items() if item[0] != worker}
        if actor is not None:
            ray.kill(actor, no_restart=True)

    def end_worker(self, worker: str) -> None:
        self._say_leave([worker])
        self._forget(worker)

    def _say_leave(self, workers: list[str]) -> None:
        """Let workers that are up tidy their node before they are killed; who does not answer is not waited
        for long."""
        if not self._sources:
            return
        with self._lock:
            actors = [self._actors[name] for name in workers if name in self._actors and name in self.pids]
        said = [actor.leave.options(concurrency_group="word").remote() for actor in actors]
        if said:
            ray.wait(said, num_returns=len(said), timeout=LEAVE_SECONDS)

    def heard(self) -> None:
        with self._lock:
            actors = list(self._actors.values())
        for actor in actors:
            actor.heard.options(concurrency_group="word").remote()

    def close(self) -> None:
        self._say_leave(list(self._actors))
        for worker in list(self._actors):
            self._forget(worker)


def _grouped(kind: type[_Actor]) -> type[_Actor]:
    """The methods that must answer while batches run get a thread of their own."""
    kind.heard = ray.method(concurrency_group="word")(kind.heard)  # type: ignore[method-assign]
    kind.pid = ray.method(concurrency_group="word")(kind.pid)  # type: ignore[method-assign]
    kind.leave = ray.method(concurrency_group="word")(kind.leave)  # type: ignore[method-assign]
    return kind


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
