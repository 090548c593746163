"""Puts a run together: plan, ledger, queue, pool, executor, runner, and those who listen."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from chunkflow.errors import Incomplete, Interrupted, StorageError
from chunkflow.events import Ended, Event, Listener
from chunkflow.jobs.budget import OVER_BUDGET, begin_account, checked_prices, over_budget, said_cost
from chunkflow.jobs.log import Log
from chunkflow.jobs.means import Means
from chunkflow.jobs.queues import JobQueue
from chunkflow.opening import open_run, refuse_unfit
from chunkflow.plan import Plan
from chunkflow.pool import Pool
from chunkflow.runner import Runner
from chunkflow.schedule import FAILED
from chunkflow.storage import Folder
from chunkflow.words import counted, plain
from cli.interrupts import Interrupts
from cli.progress import Progress
from cli.report import write_report

STOPPING = "Stopping: what is in flight is being finished. Once more to stop at once."


def versions(folder: Path) -> dict[str, str]:
    """What a record must say so that a result can be made again."""
    libraries = {name: version(name) for name in ("ray", "numpy", "scipy", "numba", "cloud-volume")}
    return {"python": platform.python_version(), **libraries, "folder": str(folder)}


def run_plan(
    plan: Plan,
    means: Means,
    folder: Path,
    console: Console,
    restart: str = "",
    agree: Callable[[str], bool] = lambda _: True,
) -> None:
    """Run a plan to its end; raises Incomplete or Interrupted where it did not get there."""
    prices = checked_prices(plan, means)
    refuse_unfit(plan, restart)
    staff = means.staff(plan)
    job_queue = JobQueue(plan, console)
    again = f"Go on with: chunkflow retry {plain(plan.work)}"
    meter = begin_account(plan, prices, means, folder)
    progress, end, stopping = Progress(console), _End(), lambda: console.print(STOPPING, highlight=False)
    ledger = open_run(plan, versions(folder), restart, agree)
    try:
        with ledger, job_queue.opened(ledger.state) as queue, Interrupts(stopping) as interrupts:
            executor = means.executor(plan, staff, folder, console)
            pool = Pool(queue, executor, staff.sizes, idle_seconds=staff.idle_seconds)
            listeners: list[Listener] = [progress, Log(Folder(plan.work)), end, meter]
            listeners += means.exported(queue.backlog, lambda: meter.spent)
            runner = Runner(plan, ledger, queue, pool, listeners)
            interrupts.attend(runner)
            meter.attend(lambda: runner.interrupt(OVER_BUDGET))
            try:
                runner.run()
            except KeyboardInterrupt:
                ledger.record_ended("interrupted")
                raise
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted at once; what was recorded is kept. {again}") from None
    except StorageError as error:
        raise StorageError(f"{str(error).rstrip('.')}. {again}") from error
    finally:
        progress.close()
    for line in (*said_cost(meter), f"The report is at {write_report(plan.work)}"):
        console.print(line, highlight=False, soft_wrap=True)
    if end.events[-1].status == OVER_BUDGET:
        raise over_budget(meter, means.money, end.events[-1].schedule, plain(plan.work))
    _judge(end, plan, again)
    if plan.box is not None:
        console.print(f"The part's layers are in {plain(plan.work)}/layers", highlight=False, soft_wrap=True)


@dataclass
class _End:
    """Listens for how the run ended."""

    events: list[Ended] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Ended):
            self.events.append(event)


def _judge(end: _End, plan: Plan, again: str) -> None:
    """Only a run that is complete goes by without an error."""
    ended = end.events[-1]
    if ended.status == "interrupted":
        raise Interrupted(f"Interrupted; what is done is kept. {again}")
    if ended.status == "incomplete":
        failed = int(ended.schedule.counts[:, FAILED].sum())
        waiting = f", {counted(ended.blocked, 'piece')} wait for them" if ended.blocked else ""
        raise Incomplete(
            f"The job is incomplete: {counted(failed, 'piece')} of work failed{waiting}. "
            f"See: chunkflow failed {plain(plan.work)}. {again}"
        )
