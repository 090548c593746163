"""Ray actors as workers: on this machine by default, on any Ray cluster by its address.

Ray restarts nothing and retries nothing here: the runner judges failures, so an actor that ends is reported
with the reason (its process or its node) and a new one is started in its place.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, RayActorError, RayTaskError

from chunkflow.errors import BadInput
from chunkflow.plan import plan_of_spec
from chunkflow.pool import Finished, Gone
from chunkflow.queue import Answer, Cause, Range
from chunkflow.worker import Worker

Sources = dict[str, bytes]
"""The user's own modules, by their path relative to the folder they are imported from."""

ONE_THREAD = {
    name: "1"
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
}
LOCAL_STORE_BYTES = 128 * 1024**2


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
        if sources:
            folder = Path(tempfile.mkdtemp(prefix="chunkflow-tasks-"))
            for path, data in sources.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data)
            sys.path.insert(0, str(folder))
        self._worker = Worker(plan_of_spec(spec), name)

    def place(self) -> tuple[str, int]:
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def process(self, batch: Range) -> list[Answer]:
        return [
            self._worker.process(batch.stage, index, batch.skip, batch.alone)
            for index in range(batch.start, batch.stop)
        ]

    def heard(self) -> None:
        self._worker.heard()


class RayExecutor:
    """Starts, feeds and watches the actors of one job."""

    def __init__(self, spec: dict[str, Any], sources: Sources | None = None, cpus: float = 1.0) -> None:
        self._spec = ray.put(spec)
        self._sources = sources or {}
        self._class = ray.remote(
            num_cpus=cpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=3,
            concurrency_groups={"word": 1},
            runtime_env={"env_vars": ONE_THREAD},
        )(_grouped(_Actor))
        self._actors: dict[str, Any] = {}
        self._places: dict[str, Any] = {}
        self._nodes: dict[str, str] = {}
        self._running: dict[Any, tuple[str, Range | None]] = {}
        self._gone: list[Finished | Gone] = []
        self._count = 0
        self._lock = threading.Lock()

    def start_worker(self) -> str:
        name = f"worker-{self._count}"
        self._count += 1
        actor = self._class.remote(self._spec, self._sources, name)
        with self._lock:
            self._actors[name] = actor
        self._running[actor.place.options(concurrency_group="word").remote()] = (name, None)
        return name

    def submit(self, worker: str, batch: Range) -> None:
        self._running[self._actors[worker].process.remote(batch)] = (worker, batch)

    def wait(self, seconds: float) -> list[Finished | Gone]:
        if not self._running:
            threading.Event().wait(seconds)
            return []
        done, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        if done:  # take all that is ready, not one at a time
            done, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        events: list[Finished | Gone] = []
        for reference in done:
            if reference in self._running:
                events += self._take(reference)
        return events

    def _take(self, reference: Any) -> list[Finished | Gone]:
        worker, batch = self._running.pop(reference)
        try:
            result = ray.get(reference)
        except (RayActorError, ActorDiedError, ActorUnavailableError, OutOfMemoryError) as error:
            return self._lost(worker, error)
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, BadInput) else error from None
        if batch is None:
            self._nodes[worker] = result[0]
            return []
        return [Finished(worker, batch, result)]

    def _lost(self, worker: str, error: Exception) -> list[Finished | Gone]:
        if worker not in self._actors:
            return []
        self._forget(worker)
        return [Gone(worker, self._cause(worker, error), str(error))]

    def _cause(self, worker: str, error: Exception) -> Cause:
        text = str(error)
        if isinstance(error, OutOfMemoryError) or "memory pressure" in text or "OOM" in text:
            return Cause.MEMORY
        if getattr(error, "preempted", False):
            return Cause.PREEMPTED
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        lost = self._nodes.get(worker) is not None and self._nodes[worker] not in alive
        return Cause.NODE_LOST if lost or "node" in text and "died" in text and "node_ip" not in text else Cause.CRASH

    def _forget(self, worker: str) -> None:
        with self._lock:
            actor = self._actors.pop(worker, None)
        self._running = {ref: item for ref, item in self._running.items() if item[0] != worker}
        if actor is not None:
            ray.kill(actor, no_restart=True)

    def end_worker(self, worker: str) -> None:
        self._forget(worker)

    def heard(self) -> None:
        with self._lock:
            actors = list(self._actors.values())
        for actor in actors:
            actor.heard.options(concurrency_group="word").remote()

    def close(self) -> None:
        for worker in list(self._actors):
            self._forget(worker)


def _grouped(kind: type[_Actor]) -> type[_Actor]:
    """The methods that must answer while batches run get a thread of their own."""
    kind.heard = ray.method(concurrency_group="word")(kind.heard)  # type: ignore[method-assign]
    kind.place = ray.method(concurrency_group="word")(kind.place)  # type: ignore[method-assign]
    return kind
