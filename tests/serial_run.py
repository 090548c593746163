"""A job run in this process, for tests that want its outputs and not the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chunkflow.events import CellFailed, Event
from chunkflow.job import Job
from chunkflow.opening import open_run
from chunkflow.plan import Plan
from chunkflow.pool import Pool
from chunkflow.queue import MemoryQueue
from chunkflow.runner import Runner
from chunkflow.serial import SerialExecutor
from chunkflow.volume import LayerInfo


def run_here(job_file: Path, settings: Sequence[str] = ()) -> Plan:
    """Run a job with the serial executor; what failed, if anything did, is the error's text."""
    job = Job.from_file(job_file, _task_type, settings)
    assert job.chunk is not None
    plan = Plan.of(job, lambda url, mip, kind: LayerInfo.of_layer(url, mip), None, job.chunk)
    failures: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, CellFailed):
            failures.append(event.answer.traceback)

    queue = MemoryQueue()
    ledger = open_run(plan, {})
    try:
        status = Runner(plan, ledger, queue, Pool(queue, SerialExecutor(plan), 1), 1, [listen]).run()
    finally:
        ledger.close()
    assert status == "complete", "\n".join(failures)
    return plan


def _task_type(name: str) -> str:
    return name if ":" in name else f"tasks.{name}:{name.capitalize()}"
