"""A worker: one cell after another through read, map and write, the three overlapped.

A worker may be called from several threads at once: one reads while another maps and a third writes
(turns.py).
"""

from __future__ import annotations

import math
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from chunkflow.data.info import LabelsInfo, TableInfo
from chunkflow.errors import Overtaken
from chunkflow.failure import cause_of
from chunkflow.geometry import Box
from chunkflow.inputs import Inputs
from chunkflow.outbox import Outbox
from chunkflow.parts import Parts, in_order
from chunkflow.plan import Plan, Step
from chunkflow.queue import NOWHERE, Answer, Cause, Place
from chunkflow.reducer import final_rows, merge_block, sorted_rows
from chunkflow.results import Results, Sorted, TableFile, WrongResult, sort_out
from chunkflow.spent import Spent
from chunkflow.stages import Stage
from chunkflow.storage import Folder
from chunkflow.task import Cell, WindowTooSmall
from chunkflow.turns import Left, Turns

SILENCE_HEARTBEATS = 12
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Worker:
    """Does cells of one plan; one that does not write does all the same, and has no runner."""

    def __init__(self, plan: Plan, name: str, writes: bool = True, place: Place = NOWHERE) -> None:
        self.name = name
        self._plan = plan
        self._place = place
        self._inputs = Inputs(plan)
        self._results = Results(self._inputs, writes)
        self._parts = Parts(Folder(plan.work), writes)
        self._setups: dict[int, Any] = {}
        self._values: dict[int, dict[str, Any]] = {}
        self._turns = Turns(SILENCE_HEARTBEATS * plan.job.heartbeat if writes else math.inf)
        self._loading = threading.Lock()

    def leave(self) -> None:
        """The node is about to be taken: what is being mapped is finished, what is not is left for others."""
        self._turns.leave()

    def heard(self) -> None:
        """The runner lives, and holds the work folder."""
        self._turns.heard()

    def decide(self, step: Step) -> None:
        """Let this worker decide a step's values for itself, without a word of it being written."""
        if step.task.has_prepare:
            self._values[step.index] = step.task.prepare(step.layout, self._inputs.samples(step)) or {}

    def process(self, stage_index: int, index: int, skip: bool = False, alone: bool = False) -> Answer:
        """Do one cell; whatever goes wrong is in the answer."""
        spent, started = Spent(), time.time()
        cause: Cause | None = None
        trace, empty = "", False
        values: dict[str, Any] | None = None
        try:
            self._turns.begin()
            empty, values = self.do(stage_index, index, skip, spent)
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
            spent.map_began or started,
            (spent.read, spent.map, spent.write),
            spent.bytes_in,
            spent.bytes_out,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT,
            trace,
            values,
            spent.counts,
            self._place,
        )

    def do(
        self, stage_index: int, index: int, skip: bool = False, spent: Spent | None = None
    ) -> tuple[bool, dict[str, Any] | None]:
        """Do one cell, raising what goes wrong: whether it is empty, and what was decided (`prepare`)."""
        spent = spent or Spent()
        stage = self._plan.stages[stage_index]
        step = self._plan.steps[stage.step]
        if stage.kind == "prepare":
            return False, self._prepare(step, stage, spent)
        if stage.kind == "map":
            return self._map(step, stage, index, skip, spent), None
        if stage.kind == "merge":
            self._merge(stage_index, stage, index, spent)
        else:
            self._finish(step, stage_index, stage, index, spent)
        return False, None

    def _prepare(self, step: Step, stage: Stage, spent: Spent) -> dict[str, Any]:
        with self._turns.decide(spent):
            values = step.task.prepare(step.layout, self._inputs.samples(step)) or {}
        with self._turns.write(spent):
            self._parts.put_values(stage.name, values)
        return values

    def _map(self, step: Step, stage: Stage, index: int, skip: bool, spent: Spent) -> bool:
        cell = self._cell(step, stage, index)
        if step.task.row_by_row:
            self._map_rows(step, stage, cell, spent)
            return False
        skip = skip or self._inputs.masked_out(step, cell)
        made = Sorted() if skip else sort_out(step, self._made(step, cell, spent))
        spent.counts = made.counts
        with self._turns.write(spent):
            empty = True
            for name, product in step.layer_outputs:
                chunk = self._results.ready_chunk(step, name, made.chunks.get(name), cell.box)
                empty = empty and isinstance(product.info, LabelsInfo) and not chunk.array.any()
                spent.bytes_out += self._results.write_chunk(product, chunk)
            if step.task.sends_rows:
                with Outbox() as outbox:
                    if made.rows is not None:
                        outbox.add(made.rows)
                    spent.bytes_out += self._parts.put_sent(stage.name, index, outbox.by_cell())
            elif step.leaves_parts:
                self._write_part(step, stage, index, made, spent)
        return skip or (empty and bool(step.layer_outputs))

    def _map_rows(self, step: Step, stage: Stage, cell: Cell, spent: Spent) -> None:
        """Make rows of a table that may be too large for memory: one file of a table, a part, or several
        for other cells."""
        if step.task.sends_rows:
            self._send(step, stage, cell, spent)
            return
        if step.task.has_rows:
            rows = step.task.no_rows(step.layout)
            for made in self._made_of_rows(step, cell, spent):
                if made.rows is not None:
                    both = pa.concat_tables([rows, made.rows], promote_options="default")
                    rows = sorted_rows(step.task, both)
            with self._turns.write(spent):
                self._write_part(step, stage, cell.index, Sorted(rows=rows), spent)
            return
        with TableFile() as table:
            for made in self._made_of_rows(step, cell, spent):
                if made.rows is not None:
                    table.add(made.rows)
            with self._turns.write(spent):
                for product in step.outputs.values():
                    spent.bytes_out += self._results.write_table(product, cell.index, table.end(step))

    def _send(self, step: Step, stage: Stage, cell: Cell, spent: Spent) -> None:
        """Send the rows made to the cells that they name."""
        with Outbox() as outbox:
            for made in self._made_of_rows(step, cell, spent):
                if made.rows is not None:
                    outbox.add(made.rows)
            with self._turns.write(spent):
                spent.bytes_out += self._parts.put_sent(stage.name, cell.index, outbox.by_cell())

    def _made_of_rows(self, step: Step, cell: Cell, spent: Spent) -> Iterator[Sorted]:
        """What `map` makes of each piece of the rows; of the other inputs the next larger window is read once
        a piece asks for it, and kept."""
        field, (product, *_) = next(iter(step.inputs.items()))
        last = self._inputs.widest(step, cell.box) - 1
        attempt = 0
        others = self._read(step, cell, attempt, spent, field)
        for rows in self._inputs.rows(product, cell.box):
            spent.bytes_in += rows.nbytes
            while True:
                try:
                    with self._turns.map(spent):
                        made = sort_out(step, step.task.map(cell, **{field: rows}, **others))
                    break
                except WindowTooSmall:
                    if attempt >= last:
                        raise
                    attempt += 1
                    others = self._read(step, cell, attempt, spent, field)
            if made.files:
                raise WrongResult(
                    f"Task {step.name} goes row by row, so not map but finish must return its files."
                )
            for what, count in made.counts.items():
                spent.counts[what] = spent.counts.get(what, 0) + count
            yield made

    def _made(self, step: Step, cell: Cell, spent: Spent) -> Any:
        """Read and map, with the next larger window as long as the task asks for one."""
        last = self._inputs.widest(step, cell.box) - 1
        attempt = 0
        while True:
            inputs = self._read(step, cell, attempt, spent)
            try:
                with self._turns.map(spent):
                    return step.task.map(cell, **inputs)
            except WindowTooSmall:
                if attempt >= last:
                    raise
            attempt += 1
            del inputs  # before the larger one is read

    def _read(self, step: Step, cell: Cell, attempt: int, spent: Spent, without: str = "") -> dict[str, Any]:
        with self._turns.read(spent):
            inputs, size = self._inputs.read(step, cell, attempt, without)
            spent.bytes_in += size
        return inputs

    def _write_part(self, step: Step, stage: Stage, index: int, made: Sorted, spent: Spent) -> None:
        rows = made.rows if made.rows is not None else step.task.no_rows(step.layout)
        files = [name for written in made.files.values() for name in written]
        for name, written in made.files.items():
            spent.bytes_out += self._results.write_files(step.outputs[name], written)
        pieces = in_order([sorted_rows(step.task, rows)])
        spent.bytes_out += self._parts.put(stage.name, index, pieces, files)

    def _merge(self, stage_index: int, stage: Stage, index: int, spent: Spent) -> None:
        """Rows are merged as they are written, as there may be more than fit in memory."""
        with self._turns.merge(spent):
            pieces = merge_block(self._plan, stage_index, index, self._parts)
            spent.bytes_out += self._parts.put(stage.name, index, pieces)

    def _finish(self, step: Step, stage_index: int, stage: Stage, index: int, spent: Spent) -> None:
        cell = self._cell(step, stage, index)
        files: list[str] = []
        pieces = final_rows(self._plan, stage_index, index, self._parts)
        gathers_rows = step.task.sends_rows and step.task.row_by_row
        others = self._read(step, cell, 0, spent, next(iter(step.inputs))) if gathers_rows else {}
        with TableFile() as table:
            while True:
                with self._turns.map(spent):
                    rows = next(pieces, None)
                    if rows is None:
                        break
                    made = sort_out(step, step.task.finish(cell, rows, **others))
                    if made.rows is not None:
                        table.add(made.rows)
                with self._turns.write(spent):
                    for name, written in made.files.items():
                        spent.bytes_out += self._results.write_files(step.outputs[name], written)
                        files.extend(written)
            with self._turns.write(spent):
                for product in step.outputs.values():
                    if isinstance(product.info, TableInfo):
                        spent.bytes_out += self._results.write_table(product, index, table.end(step))
                spent.bytes_out += self._parts.put(stage.name, index, (), files)

    def _cell(self, step: Step, stage: Stage, index: int) -> Cell:
        with self._loading:
            if step.index not in self._setups:
                self._setups[step.index] = step.task.setup()
        box: Box = stage.grid.box(index)
        size = next((p.info.voxel_size for p in step.outputs.values()), step.layout.main.voxel_size)
        return Cell(
            index,
            box,
            step.region,
            step.volume,
            size,
            step.layout,
            self._decided(step),
            self._setups[step.index],
        )

    def _decided(self, step: Step) -> dict[str, Any]:
        if not step.task.has_prepare:
            return {}
        if step.index not in self._values:
            self._values[step.index] = dict(self._parts.values(f"{step.name}.prepare"))
        return self._values[step.index]
