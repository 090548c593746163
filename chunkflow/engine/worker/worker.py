"""A worker: one cell after another through read, map and write, the three overlapped.

A worker may be called from several threads at once: one reads while another maps and a third writes
(turns.py).
"""

from __future__ import annotations

import math
import resource
import sys
import time
import traceback
from dataclasses import replace
from typing import Any

from chunkflow.data.owned import OwnedPlaces
from chunkflow.engine.ledger.heartbeat import FENCE_HEARTBEATS
from chunkflow.engine.planning.plan import Plan, Step
from chunkflow.engine.queue.cells import NOWHERE, Answer, Cause, Range, WorkerPlace, cause_of
from chunkflow.engine.worker.cell_run import CellRun, Tools
from chunkflow.engine.worker.inputs import Inputs
from chunkflow.engine.worker.parts import Parts
from chunkflow.engine.worker.results import Results
from chunkflow.engine.worker.strategies import strategy_for
from chunkflow.engine.worker.task_cells import TaskCells
from chunkflow.engine.worker.turns import Left, Turns
from chunkflow.engine.worker.usage import Usage
from chunkflow.errors import Overtaken, StorageError

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Worker:
    """Does cells of one plan; one that does not write does all the same, and has no runner."""

    def __init__(
        self, plan: Plan, name: str, writes: bool = True, place: WorkerPlace = NOWHERE, owner: str = ""
    ) -> None:
        """`owner` is the run's, as which its files are written."""
        self.name = name
        self._place = place
        self._turns = Turns(FENCE_HEARTBEATS * plan.job.heartbeat if writes else math.inf)
        self._places = OwnedPlaces(owner, self._turns.check)
        inputs, parts = Inputs(plan), Parts(self._places.at(plan.work), writes)
        cells = TaskCells(plan, inputs, parts)
        results = Results(inputs, self._places, writes)
        self._tools = Tools(plan, inputs, results, parts, self._turns, cells)

    def leave(self) -> None:
        """The node is about to be taken: what is being mapped is finished, what is not is left for others."""
        self._turns.leave()

    def heartbeat(self) -> None:
        """The runner lives, and holds the work folder."""
        self._turns.heartbeat()

    def decide(self, step: Step) -> None:
        """Let this worker decide a step's values for itself, without a word of it being written."""
        self._tools.cells.keep(step, self._tools.cells.decide(step))

    def process(self, batch: Range) -> list[Answer]:
        """Do a batch of cells; whatever goes wrong is in the answers. What they say is done is durable."""
        answers = [
            self._attempt(batch.stage, index, batch.skip, batch.alone)
            for index in range(batch.start, batch.stop)
        ]
        usage, failed = Usage(), dict[str, Any]()
        try:
            with usage.timed("write"):
                self._places.sync()
        except (StorageError, OSError) as error:
            failed = {"cause": cause_of(error), "traceback": traceback.format_exc(), "values": None}
        share = usage.write / len(answers)
        return [_synced(answer, share, {} if answer.cause else failed) for answer in answers]

    def _attempt(self, stage_index: int, index: int, skip: bool, alone: bool) -> Answer:
        """Do one cell; whatever goes wrong is in the answer."""
        usage, started = Usage(), time.time()
        cause: Cause | None = None
        trace, empty = "", False
        values: dict[str, Any] | None = None
        try:
            self._turns.begin()
            empty, values = self.do(stage_index, index, skip, usage)
        except Left:
            cause = Cause.PREEMPTED
        except Overtaken:
            cause = Cause.GIVEN_BACK
        except (Exception, SystemExit) as error:  # a task that calls sys.exit() ends no worker
            cause, trace = cause_of(error), traceback.format_exc()
        return Answer(
            stage_index,
            index,
            self.name,
            cause,
            alone,
            empty,
            usage.map_began or started,
            (usage.read, usage.map, usage.write),
            usage.bytes_in,
            usage.bytes_out,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT,
            trace,
            values,
            usage.counts,
            self._place,
            usage.digest,
        )

    def do(
        self, stage_index: int, index: int, skip: bool = False, usage: Usage | None = None
    ) -> tuple[bool, dict[str, Any] | None]:
        """Do one cell, raising what goes wrong: whether it is empty, and what was decided (`prepare`)."""
        run = CellRun(self._tools, stage_index, index, usage or Usage())
        if run.stage.kind == "prepare":
            return False, self._prepare(run)
        strategy = strategy_for(run.step.shape)
        if run.stage.kind == "map":
            return strategy.map(run, skip), None
        if run.stage.kind == "merge":
            strategy.merge(run)
        else:
            strategy.finish(run)
        return False, None

    def _prepare(self, run: CellRun) -> dict[str, Any]:
        with self._turns.decide(run.usage):
            values = self._tools.cells.decide(run.step)
        with self._turns.write(run.usage):
            self._tools.parts.put_values(run.stage.name, values)
        return values


def _synced(answer: Answer, seconds: float, failed: dict[str, Any]) -> Answer:
    """The answer after its files were made durable, which took so long, or could not be."""
    read, mapped, written = answer.seconds
    return replace(answer, seconds=(read, mapped, written + seconds), **failed)
