"""Actor of a Ray worker: batches, the runner's heartbeats, and the watch for a notice."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from chunkflow.engine.planning.plan import plan_of_spec
from chunkflow.engine.planning.spec import PlanSpec
from chunkflow.engine.queue.cells import Answer, Range
from chunkflow.engine.worker.worker import Worker
from chunkflow.modules import Modules
from cluster.workers.nodes import drain_this_node, this_place
from cluster.workers.notices import SIGTERM, Notices, sources_here

Sources = dict[str, bytes]
"""The user's own modules, by their paths in the folder of the job file."""

HEARTBEAT, NOTICE = "heartbeat", "notice"
"""Groups of methods that answer while batches run, each with a thread of its own."""


@dataclass(frozen=True)
class Greeting:
    """Facts of a worker that is up."""

    pid: int
    ends: float | None


class Actor:
    """One worker process, whose threads run a few batches at once and hear heartbeats beside."""

    def __init__(self, spec: dict[str, Any], sources: Sources, name: str, owner: str) -> None:
        self._notices = Notices(sources_here())
        self._notices.hear_sigterm()
        self._folder = lay(sources) if sources else None
        plan = plan_of_spec(PlanSpec.model_validate(spec), Modules(self._folder))
        self._worker = Worker(plan, name, place=this_place(), owner=owner)

    @ray.method(concurrency_group=HEARTBEAT)  # type: ignore[untyped-decorator]
    def greet(self) -> Greeting:
        ends = os.environ.get("CHUNKFLOW_ENDS")
        return Greeting(os.getpid(), float(ends) if ends else None)

    @ray.method(concurrency_group=NOTICE)  # type: ignore[untyped-decorator]
    def leaving(self) -> None:
        """Wait until the node is to be taken; what is not begun by then is left for others."""
        why = self._notices.wait()
        self._worker.leave()
        if why != SIGTERM:  # which tells of this process alone
            with suppress(RayError):  # then Ray may start something here that is lost, too
                drain_this_node(why)

    def process(self, batch: Range) -> list[Answer]:
        return self._worker.process(batch)

    @ray.method(concurrency_group=HEARTBEAT)  # type: ignore[untyped-decorator]
    def heartbeat(self) -> None:
        self._worker.heartbeat()

    @ray.method(concurrency_group=HEARTBEAT)  # type: ignore[untyped-decorator]
    def leave(self) -> None:
        """Remove what this worker laid on its node: one that is killed runs nothing at its exit."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def lay(sources: Sources) -> Path:
    """Lay the user's own modules into a folder of this node."""
    folder = Path(tempfile.mkdtemp(prefix="chunkflow-tasks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path, data in sources.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder
