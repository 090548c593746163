"""Puts a run together: plan, ledger, queue, pool, executor, runner, and those who listen."""

from __future__ import annotations

import os
import platform
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import FrameType, TracebackType

from rich.console import Console

from chunkflow.errors import BadInput, Incomplete, Interrupted, StorageError
from chunkflow.events import Ended, Event, Listener
from chunkflow.opening import open_run
from chunkflow.plan import Plan, spec_of
from chunkflow.pool import Executor, Pool
from chunkflow.queue import MemoryQueue
from chunkflow.runner import Runner
from chunkflow.schedule import FAILED
from chunkflow.serial import SerialExecutor
from chunkflow.storage import Folder
from cli.builtin import sources_of
from cli.log import Log
from cli.progress import Progress
from cli.report import write_report
from cli.words import counted, plain

ADDRESS_SECONDS = 10.0


@dataclass(frozen=True)
class Means:
    """With what a job runs."""

    workers: int = 0
    address: str = ""
    serial: bool = False

    def __post_init__(self) -> None:
        if self.serial and self.address:
            raise BadInput("--serial runs in this process, --address on a Ray cluster; give one of them.")

    @property
    def local_workers(self) -> int:
        return 1 if self.serial else self.workers or os.cpu_count() or 1


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
    _refuse_dead(means.address)
    again = f"Go on with: chunkflow retry {plain(plan.work)}"
    progress, end = Progress(console), _End()
    ledger = open_run(plan, versions(folder), restart, agree)
    try:
        with ledger, _Interrupts(console) as interrupts:
            executor, workers = _executor(plan, means, folder, console)
            queue = MemoryQueue(len(plan.worker_kinds))
            pool = Pool(queue, executor, [workers] * len(plan.worker_kinds))
            listeners: list[Listener] = [progress, Log(Folder(plan.work)), end]
            runner = Runner(plan, ledger, queue, pool, listeners)
            interrupts.attend(runner)
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
    console.print(f"The report is at {write_report(plan.work)}", highlight=False, soft_wrap=True)
    _judge(end, plan, again)
    if plan.box is not None:
        console.print(f"The part's layers are in {plain(plan.work)}/layers", highlight=False, soft_wrap=True)


def _refuse_dead(address: str) -> None:
    """Ray itself asks a head that is not there for minutes, and by then the job's layers would be made."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not address or address in ("auto", "local"):
        return
    if not colon or not port.isdigit():
        raise BadInput(f"--address takes ray://HOST:PORT, HOST:PORT or auto, not {address!r}.")
    try:
        socket.create_connection((host, int(port)), timeout=ADDRESS_SECONDS).close()
    except OSError as error:
        raise BadInput(f"No Ray cluster answers at {address}: {error.strerror or error}.") from error


@dataclass
class _End:
    """Listens for how the run ended."""

    events: list[Ended] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Ended):
            self.events.append(event)


def _executor(plan: Plan, means: Means, folder: Path, console: Console) -> tuple[Executor, int]:
    if means.serial:
        return SerialExecutor(plan), 1
    where = f"on {means.address}" if means.address else f"with {counted(means.local_workers, 'worker')}"
    console.print(f"Starting Ray {where}.", highlight=False)
    from cluster.ray_executor import RayExecutor, start_ray  # takes two seconds, which serial need not pay

    workers = start_ray(means.address or None, means.workers if means.address else means.local_workers)
    return RayExecutor(spec_of(plan), sources_of(plan.job, folder)), workers


class _Interrupts:
    """Ctrl-C (and SIGTERM) ends the run in good order, the second one at once.

    One that comes while Ray starts waits until it is up: a start that is torn apart leaves processes behind.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._runner: Runner | None = None
        self._asked = False

    def attend(self, runner: Runner) -> None:
        self._runner = runner
        if self._asked:
            runner.interrupt()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        if self._runner is not None:
            self._runner.interrupt()
        self._console.print(
            "Stopping: what is in flight is being finished. Once more to stop at once.", highlight=False
        )

    def __enter__(self) -> _Interrupts:
        self._before = {n: signal.signal(n, self._stop) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


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
