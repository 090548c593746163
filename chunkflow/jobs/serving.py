"""A pool of one cluster, for a job whose runner is elsewhere.

1. It reads the ledger in the work folder, again and again. While there is no run, it waits; so it may be
   started before the runner, and it outlives the runner's restarts.
2. A run is on while its ledger grows, by this machine's clock alone. Each segment is a heartbeat,
   passed on to the workers, whose writes are fenced off once heartbeats stop.
3. When the run is asked to stop, the pool drains: what is begun is finished and answered, the rest goes back
   to the queue. It ends when the job has ended, or once it is interrupted, having drained.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import chunkflow
from chunkflow.data.folder import Folder
from chunkflow.data.info import full_url
from chunkflow.engine.ledger.heartbeat import STOP
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import State
from chunkflow.engine.planning.plan import Plan, plan_of_spec
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.queue.sqs.client import NoQueue, SqsClient
from chunkflow.engine.queue.sqs.messages import RunKey
from chunkflow.engine.queue.sqs.queue import SqsQueue
from chunkflow.engine.queue.sqs.queues import Queues, Timing
from chunkflow.engine.run.events import Listener, Said
from chunkflow.engine.run.opening import canonical, changes_of
from chunkflow.errors import BadInput, Interrupted, StorageError
from chunkflow.jobs.means import Means
from chunkflow.jobs.queues import run_of, sqs_queue
from chunkflow.jobs.status import LOOK_SECONDS, Followed
from chunkflow.modules import Modules
from chunkflow.words import counted

TIMING = Timing(look=5.0)
"""A pool need not know the length of the queue as well as the runner."""


class PoolProcess:
    """Waits for runs of a job and works for them, one after the other."""

    def __init__(
        self, location: str, means: Means, modules: Path = Path(), listeners: Sequence[Listener] = ()
    ) -> None:
        """The user's own tasks lie in the folder `modules`."""
        self._url, self._means, self._modules, self._listeners = full_url(location), means, modules, listeners
        self._folder = Folder(self._url)
        self._followed = Followed(Ledger.load(self._folder))
        self._interrupts: deque[None] = deque()
        """One for each: to append is safe in any thread, and in a signal that comes while another appends."""
        self._has_served = False
        self._said = ""

    def interrupt(self) -> None:
        """Drain, then end; called again, end at once. May be called from any thread, and by a signal."""
        self._interrupts.append(None)

    def run(self) -> None:
        """Work until the job has ended; raises Interrupted where that is called for before."""
        while not self._interrupts:
            self._followed.look()
            state = self._followed.state
            _refuse_without_queue(state, self._url)
            if self._is_over(state):
                self._say(f"The job in {self._url} has ended: {state.ended}.")
                return
            if self._followed.is_on and not self._is_stopped():
                self._serve(state)
            else:
                self._say(f"Waiting for a run in {self._url}; Ctrl-C ends this pool.")
                time.sleep(self._pause)
        raise Interrupted("This pool has ended; what it had not begun is back on the queue.")

    def _is_over(self, state: State) -> bool:
        """Nothing is left to be done; or what could not be done has failed while this pool was there."""
        ended = state.ended or ""
        return ended == "complete" or (self._has_served and ended.startswith("incomplete"))

    @property
    def _pause(self) -> float:
        return min(LOOK_SECONDS, self._followed.heartbeat / 4)

    def _is_stopped(self) -> bool:
        try:
            return self._folder.exists(STOP)
        except StorageError:
            return False

    def _serve(self, state: State) -> None:
        """Work for one run until it is over."""
        plan = plan_of(state, self._modules)
        run = run_of(state)
        site = self._means.site
        staff = site.staff(plan)
        try:
            client = SqsClient()
            queues = Queues(client, plan.job.queue, len(plan.worker_kinds), run)
        except NoQueue as error:
            self._followed.look()
            if not self._is_on(run):
                return
            raise BadInput(
                f"{error} The run is on: look at AWS_DEFAULT_REGION and whose keys are used here."
            ) from error
        queue = sqs_queue(plan, queues, TIMING)
        executor = site.executor(plan, staff, state.owner, self._say)
        pool = Pool(queue, executor, staff.sizes, idle_seconds=staff.idle_seconds)
        self._say(f"Working for the run in {self._url}, with {counted(sum(staff.sizes), 'worker')}.")
        self._has_served = True
        pool.start()
        try:
            self._attend(pool, queue, run)
        finally:
            pool.stop()
            queue.close()
        if self._followed.state.ended != "complete":  # a next run may begin at once
            queue.join()

    def _attend(self, pool: Pool, queue: SqsQueue, run: RunKey) -> None:
        """Pass on the runner's heartbeats until the run is over, or this pool is to end; then drain."""
        while self._is_on(run) and not pool.drained:
            if self._followed.look():
                pool.heartbeat()
            if pool.error is not None:
                self._judge(pool.error, run)
                return
            if len(self._interrupts) > 1:
                raise Interrupted("Ended at once; what this pool had leased, others will do.")
            if not pool.draining and (self._interrupts or self._is_stopped()):
                pool.drain()
                self._say("Draining: what is begun is finished, the rest goes back to the queue.")
            if pool.draining:
                queue.release()
            time.sleep(self._pause)

    def _is_on(self, run: RunKey) -> bool:
        return self._followed.is_on and run_of(self._followed.state) == run

    def _judge(self, error: BaseException, run: RunKey) -> None:
        """A queue that is gone is no fault if its run has ended, which is heard of only now."""
        time.sleep(self._followed.heartbeat)
        self._followed.look()
        if self._is_on(run):
            raise error

    def _say(self, sentence: str) -> None:
        """Say something once, however long it lasts."""
        if sentence != self._said:
            self._said = sentence
            for listener in self._listeners:
                listener(Said(sentence))


def _refuse_without_queue(state: State, url: str) -> None:
    if state.job is not None and not state.job.plan.job.queue:
        raise BadInput(
            f"The job in {url} names no queue, so only its own runner's pool works for it. Put "
            "queue: sqs://NAME into the job file, and run it again."
        )


def plan_of(state: State, modules: Path) -> Plan:
    """The run's plan, if it means the same here. Nothing that the ledger names is imported but tasks that are
    installed here, or lie in a folder that the user named."""
    assert state.job is not None
    there = str(state.versions.get("chunkflow"))
    if there != chunkflow.__version__:
        raise BadInput(
            f"The run is one of chunkflow {there}, and here is {chunkflow.__version__}: install the same."
        )
    try:
        plan = plan_of_spec(state.job.plan, Modules(modules.resolve()))
    except BadInput as error:
        raise BadInput(f"{error} For a pool, name their folder as `modules`.") from error
    changes = changes_of(state.job.spec, canonical(plan.job, plan))
    if changes:
        raise BadInput(f"The tasks here are not those of the run ({changes[0]}): install the same here.")
    return plan
