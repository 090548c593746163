"""Puts a run together: plan, ledger, queue, pool, executor, runner, and those who listen."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from rich.console import Console

from chunkflow.errors import BadInput, Incomplete, Interrupted
from chunkflow.events import Ended, Event
from chunkflow.opening import open_run
from chunkflow.plan import Plan, spec_of
from chunkflow.pool import Executor, Pool
from chunkflow.queue import MemoryQueue
from chunkflow.runner import Runner
from chunkflow.serial import SerialExecutor
from chunkflow.storage import Folder
from cli.builtin import sources_of
from cli.log import Log
from cli.progress import Progress
from cli.report import write_report


@dataclass(frozen=True)
class Means:
    """With what a job runs."""

    workers: int = 0
    address: str = ""
    serial: bool = False

    @property
    def local_workers(self) -> int:
        return 1 if self.serial else self.workers or os.cpu_count() or 1


def versions(folder: Path) -> dict[str, str]:
    """What a record must say so that a result can be made again."""
    return {"python": platform.python_version(), "ray": ray.__version__, "folder": str(folder)}


def run_plan(
    plan: Plan,
    means: Means,
    folder: Path,
    console: Console,
    restart: str = "",
    agree: Callable[[str], bool] = lambda _: True,
) -> None:
    """Run a plan to its end; raises Incomplete or Interrupted where it did not get there."""
    ledger = open_run(plan, versions(folder), restart, agree)
    progress, work = Progress(console), Folder(plan.work)
    ended: list[Ended] = []

    def keep_end(event: Event) -> None:
        if isinstance(event, Ended):
            ended.append(event)

    try:
        with ledger:
            executor, workers = _executor(plan, means, folder)
            queue = MemoryQueue()
            pool = Pool(queue, executor, workers)
            runner = Runner(plan, ledger, queue, pool, workers, [progress, Log(work), keep_end])
            with _interrupts(runner, console):
                status = runner.run()
    finally:
        progress.close()
    report = write_report(plan.work)
    _judge(status, plan, ended[-1], report, console)


def _executor(plan: Plan, means: Means, folder: Path) -> tuple[Executor, int]:
    if means.serial:
        return SerialExecutor(plan), 1
    from cluster.ray_executor import RayExecutor, start_ray  # takes two seconds, which serial need not pay

    workers = start_ray(means.address or None, means.workers if means.address else means.local_workers)
    return RayExecutor(spec_of(plan), sources_of(plan.job, folder)), workers


@contextmanager
def _interrupts(runner: Runner, console: Console) -> Iterator[None]:
    """Ctrl-C (and SIGTERM) ends the run in good order; the second one ends it at once."""
    asked = 0

    def stop(number: int, frame: object) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise KeyboardInterrupt
        runner.interrupt()
        console.print(
            "Stopping: what is in flight is being finished. Once more to stop at once.", highlight=False
        )

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _judge(status: str, plan: Plan, end: Ended, report: str, console: Console) -> None:
    console.print(f"The report is at {report}", highlight=False, soft_wrap=True)
    if status == "complete":
        return
    again = f"Go on with: chunkflow retry {plan.work}"
    if status == "interrupted":
        raise Interrupted(f"Interrupted; what is done is kept. {again}")
    if status == "incomplete":
        failed = int(end.schedule.counts[:, 4].sum())
        raise Incomplete(
            f"The job is incomplete: {failed:,} chunks failed, {end.blocked:,} wait for them. "
            f"See: chunkflow failed {plan.work}. {again}"
        )
    raise BadInput(f"The job ended as {status}.")
