"""The queue that a job names: within the runner's process, or over SQS with the pools of other clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chunkflow.engine.ledger.state import State
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.queue.queue import Queue
from chunkflow.engine.queue.sqs.messages import RunKey
from chunkflow.engine.queue.sqs.queue import SqsQueue
from chunkflow.engine.queue.sqs.queues import USUAL, Queues, Timing, make_queues, remove_queues
from chunkflow.errors import ChunkflowError


class JobQueue:
    """To be made before anything is written: it refuses a queue that cannot be used."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan, self._say = plan, say
        if plan.job.queue:
            kinds = len(plan.worker_kinds)
            self._client = make_queues(plan.job.queue, kinds, plan.work, say)

    @contextmanager
    def opened(self, state: State) -> Iterator[Queue]:
        """The queue of the run that the ledger has just begun; removed with it if it completes the job."""
        kinds = len(self._plan.worker_kinds)
        if not self._plan.job.queue:
            yield MemoryQueue(kinds)
            return
        queues = Queues(self._client, self._plan.job.queue, kinds, run_of(state))
        queue = sqs_queue(self._plan, queues)
        self._say(f"Pools on other clusters may join: chunkflow work {self._plan.work}")
        try:
            yield queue
        finally:
            queue.close()
        if state.ended != "complete":
            queue.join()
        else:
            try:
                remove_queues(queues, self._plan.work)
            except ChunkflowError as error:  # all is done, and an empty queue costs nothing
                self._say(f"The job's queues were left: {error}")


def sqs_queue(plan: Plan, queues: Queues, timing: Timing = USUAL) -> SqsQueue:
    return SqsQueue(queues, [len(stage.grid) for stage in plan.stages], timing)


def run_of(state: State) -> RunKey:
    """Which run the ledger is in, as everyone can know who reads it."""
    return RunKey(len(state.runs), state.runs[-1][2])
