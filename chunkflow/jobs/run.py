"""A run of a job: plan, ledger, queue, pool, executor, runner and listeners, put together.

It prints nothing and hears no signals: whoever follows it listens, and calls `interrupt`. `start` opens the
run in the thread that calls it, and refuses what cannot be run before anything is written; the rest is done
in a thread of the run's own. Several runs, of different work folders, may go on in one process.
"""

from __future__ import annotations

import platform
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from chunkflow.data.folder import Folder
from chunkflow.engine.cost.accounts import read_accounts
from chunkflow.engine.cost.meter import CostMeter
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.pool.staff import Staff
from chunkflow.engine.queue.schedule import FAILED
from chunkflow.engine.run.events import Ended, Event, Listener, Said
from chunkflow.engine.run.opening import open_run, refuse_unfit
from chunkflow.engine.run.runner import Runner
from chunkflow.errors import BadInput, Incomplete, Interrupted, StorageError
from chunkflow.geometry import Box
from chunkflow.jobs.budget import OVER_BUDGET, begin_account, checked_prices, over_budget, said_cost
from chunkflow.jobs.log import Log
from chunkflow.jobs.means import Means
from chunkflow.jobs.planned import open_plan
from chunkflow.jobs.queues import JobQueue
from chunkflow.words import counted, plain


def versions(job: Job) -> dict[str, str]:
    """The versions that a record must name so that a result can be made again, and the folder of its file."""
    libraries = {name: version(name) for name in ("ray", "numpy", "scipy", "numba", "cloud-volume")}
    return {"python": platform.python_version(), **libraries, "folder": str(job.modules.folder or Path.cwd())}


@dataclass(frozen=True)
class _Opened:
    """What a run works with, from the time that it is the job's runner."""

    ledger: Ledger
    queue: JobQueue
    staff: Staff
    meter: CostMeter


class Run:
    """One run of a plan, from `start`, which is called once, to its end.

    Its listeners are called with each event, one after the other. An error that one of them raises ends the
    run: what is done stays recorded, the workers are ended, the ledger is closed, and `wait` raises it.
    """

    def __init__(
        self,
        plan: Plan,
        means: Means,
        restart: str | Sequence[str] = "",
        agree: Callable[[str], bool] = lambda _: True,
        listeners: Sequence[Listener] = (),
        ledger: Ledger | None = None,
    ) -> None:
        """`restart` names a task, or several, to be cleared with those after it; `agree` is asked first, with
        what would be deleted. `ledger` is that of the work folder, where it was loaded already; from then on
        it is the run's."""
        self.plan, self.status = plan, ""
        """`status` is how the run ended, once it has, and its ledger is closed."""
        self.listeners = list(listeners)
        """Those that are there when the run is started will hear it."""
        self._means = means
        self._restart, self._agree, self._ledger = restart, agree, ledger
        self._started = threading.Lock()
        """Taken by the one call of `start`, and kept."""
        self._hearers: tuple[Listener, ...] = ()
        self._runner: Runner | None = None
        self._interrupts: deque[None] = deque()
        """One for each: to append is safe in any thread, and in a signal that comes while another appends."""
        self._end: Ended | None = None
        self._result: Future[str] = Future()

    @classmethod
    def of(
        cls,
        job: Job,
        means: Means,
        box: Box | None = None,
        restart: str | Sequence[str] = "",
        agree: Callable[[str], bool] = lambda _: True,
    ) -> Run:
        """The run of a job, or of a part of its volume, as it would be planned here."""
        ledger = Ledger.load(Folder(job.work_for(box)))
        plan = open_plan(job, box, means.local_workers, ledger)
        return cls(plan, means, restart, agree, ledger=ledger)

    def start(self) -> None:
        """Become the job's runner, and go on in a thread of the run's own. Raises BadInput for what cannot be
        run, before anything is written; whatever it raises, `wait` raises too."""
        if not self._started.acquire(blocking=False):
            raise BadInput("This run was started already: make another one to go on with its job.")
        self._hearers = tuple(self.listeners)
        try:
            opened = self._open()
        except BaseException as error:
            self._result.set_exception(error)
            raise
        try:
            threading.Thread(target=self._work, args=(opened,), name="run", daemon=True).start()
        except RuntimeError as error:  # the system has no thread left
            self._result.set_exception(error)
            opened.ledger.close()
            raise

    def _open(self) -> _Opened:
        plan, means = self.plan, self._means
        ledger = self._ledger or Ledger.load(Folder(plan.work))
        accounts = read_accounts(plan.job.work)
        prices = checked_prices(plan, means, accounts)
        refuse_unfit(plan, self._restart, ledger)
        staff = means.site.staff(plan)
        queue = JobQueue(plan, self._say)
        meter = begin_account(plan, prices, means, accounts)
        open_run(plan, versions(plan.job), self._restart, self._agree, ledger, self._say)
        return _Opened(ledger, queue, staff, meter)

    def interrupt(self) -> None:
        """End in good order: begin nothing new, finish what is in flight. Called again: end at once. May be
        called from any thread, and by a signal."""
        self._interrupts.append(None)
        self._pass_on()

    def wait(self) -> str:
        """Wait for the end, and say how it ended. Raises Incomplete, Interrupted, Overtaken or StorageError
        where not all was done. A KeyboardInterrupt meanwhile interrupts the run; the third ends the wait."""
        if not self._started.locked():
            raise BadInput("This run was not started yet: call start before wait.")
        while True:
            try:
                return self._result.result()
            except KeyboardInterrupt:
                if len(self._interrupts) > 1:
                    raise
                self.interrupt()

    def _work(self, opened: _Opened) -> None:
        """Leave what came of the run to those who wait."""
        try:
            self._result.set_result(self._to_end(opened))
        except BaseException as error:
            self._result.set_exception(error)

    def _to_end(self, opened: _Opened) -> str:
        """Run to the end; only a run that is complete goes by without an error."""
        again = f"Go on with: chunkflow retry {plain(self.plan.work)}"
        try:
            self.status = self._run(opened)
        except (Interrupted, StorageError) as error:
            kind = Interrupted if isinstance(error, Interrupted) else StorageError
            raise kind(f"{str(error).rstrip('.')}. {again}") from error
        for line in said_cost(opened.meter):
            self._say(line)
        self._judge(opened.meter, again)
        return self.status

    def _run(self, opened: _Opened) -> str:
        plan, site, staff, meter = self.plan, self._means.site, opened.staff, opened.meter
        with opened.ledger as ledger, opened.queue.opened(ledger.state) as queue:
            executor = site.executor(plan, staff, ledger.owner, self._say)
            pool = Pool(queue, executor, staff.sizes, idle_seconds=staff.idle_seconds)
            # What the run leaves is written first, whatever comes of those who only look on.
            listeners: list[Listener] = [Log(Folder(plan.work)), self._hear, meter, *self._hearers]
            listeners += site.exported(queue.backlog, lambda: meter.spent)
            runner = Runner(plan, ledger, queue, pool, listeners)
            meter.attend(lambda: runner.interrupt(OVER_BUDGET))
            self._runner = runner
            self._pass_on()
            return runner.run()

    def _pass_on(self) -> None:
        """Tell the runner, once there is one: what is asked while Ray starts is done when it is up, as a
        start that is torn apart leaves processes behind."""
        if self._runner is not None and self._interrupts:
            self._runner.interrupt()
            if len(self._interrupts) > 1:
                self._runner.stop()

    def _say(self, sentence: str) -> None:
        for listener in self._hearers:
            listener(Said(sentence))

    def _hear(self, event: Event) -> None:
        if isinstance(event, Ended):
            self._end = event

    def _judge(self, meter: CostMeter, again: str) -> None:
        assert self._end is not None
        work, schedule = plain(self.plan.work), self._end.schedule
        if self.status == OVER_BUDGET:
            raise over_budget(meter, self._means.money, schedule, work)
        if self.status == "interrupted":
            raise Interrupted(f"Interrupted; what is done is kept. {again}")
        if self.status == "incomplete":
            failed, blocked = int(schedule.counts[:, FAILED].sum()), self._end.blocked
            waiting = f", {counted(blocked, 'chunk')} wait for them" if blocked else ""
            raise Incomplete(
                f"The job is incomplete: {counted(failed, 'chunk')} failed{waiting}. "
                f"See: chunkflow failed {work}. {again}"
            )
