"""Strategies for the cells of a step, one for each shape of task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pyarrow as pa

from chunkflow.engine.planning.steps import Step
from chunkflow.engine.worker.cell_run import CellRun
from chunkflow.engine.worker.parts import by_whole_keys, in_order
from chunkflow.engine.worker.reducer import (
    block_rows,
    filed_by_id,
    final_rows,
    in_key_order,
    levels_of,
    merge_block,
    sent_rows,
    sorted_rows,
)
from chunkflow.engine.worker.results import CellResults, TableFile, WrongResult
from chunkflow.engine.worker.spill import Spill, addressed
from chunkflow.shapes import MergedRows, ReducedRows, RowByRow, SentRows, Shape, Voxels
from chunkflow.task import Cell


class Strategy:
    """Strategy for voxels and files, which are written as they are made; the base of the others."""

    def map(self, run: CellRun, skip: bool) -> bool:
        """Do a cell of the map stage; returns whether all that it made is empty."""
        skip = skip or run.masked_out()
        made = CellResults() if skip else self.made(run)
        with run.tools.turns.write(run.usage):
            empty = run.write_layers(made)
            self.leave(run, made)
        return skip or empty

    def made(self, run: CellRun) -> CellResults:
        """What the task makes of the cell."""
        return run.map()

    def leave(self, run: CellRun, made: CellResults) -> None:
        """Leave what the stages that follow need of the cell."""
        if run.step.leaves_parts:
            run.put(in_order([run.step.task.no_rows(run.step.layout)]), run.write_files(made.files))

    def merge(self, run: CellRun) -> None:
        """Do a block of a level above the map."""
        raise AssertionError(f"{run.stage.name}: rows of {run.step.shape} have no blocks")

    def finish(self, run: CellRun) -> None:
        """Do a cell of the finish stage."""
        run.finish(self.complete(run), self.others(run))

    def complete(self, run: CellRun) -> Iterator[pa.Table]:
        """The complete rows of a cell of the finish stage, in pieces."""
        raise AssertionError(f"{run.stage.name}: {run.step.shape} leaves no rows")

    def others(self, run: CellRun) -> Mapping[str, Any]:
        """The inputs that `finish` is given beside its rows."""
        return {}


class RowByRowStrategy(Strategy):
    """Each cell writes the file of a table."""

    def map(self, run: CellRun, skip: bool) -> bool:
        with TableFile() as table:
            for rows in run.map_row_by_row():
                table.add(rows)
            with run.tools.turns.write(run.usage):
                run.write_table(table)
        return False


class MergedStrategy(Strategy):
    """Each cell leaves its rows, which are merged up the tree."""

    def leave(self, run: CellRun, made: CellResults) -> None:
        files = run.write_files(made.files)
        run.put(in_order([sorted_rows(run.step.task, rows_of(run, made))]), files)

    def merge(self, run: CellRun) -> None:
        """Rows are merged as they are written, as there may be more than fit in memory."""
        tools = run.tools
        with tools.turns.merge(run.usage):
            run.put(merge_block(tools.plan, run.stage_index, run.index, tools.parts))

    def complete(self, run: CellRun) -> Iterator[pa.Table]:
        return final_rows(run.tools.plan, run.stage_index, run.index, run.tools.parts)


class MergedRowByRowStrategy(MergedStrategy):
    """The same of the rows of a table, merged as they are made."""

    def map(self, run: CellRun, skip: bool) -> bool:
        rows = run.step.task.no_rows(run.step.layout)
        for made in run.map_row_by_row():
            rows = sorted_rows(run.step.task, pa.concat_tables([rows, made], promote_options="default"))
        with run.tools.turns.write(run.usage):
            self.leave(run, CellResults(rows=rows))
        return False


class SentStrategy(Strategy):
    """Each cell leaves a file of rows for each cell that it sends some to."""

    def leave(self, run: CellRun, made: CellResults) -> None:
        files = run.write_files(made.files)
        run.put((), files, addressed(made.rows) if made.rows is not None else ())

    def complete(self, run: CellRun) -> Iterator[pa.Table]:
        yield sent_rows(run.tools.plan, run.stage_index, run.index, run.tools.parts)


class SentRowByRowStrategy(SentStrategy):
    """The same of the rows of a table, which may not fit in memory."""

    def map(self, run: CellRun, skip: bool) -> bool:
        with Spill() as spill:
            for rows in run.map_row_by_row():
                spill.add(rows)
            with run.tools.turns.write(run.usage):
                run.put((), sent=spill.by_cell())
        return False

    def others(self, run: CellRun) -> Mapping[str, Any]:
        return run.read(without=next(iter(run.step.inputs)))


class ReducedStrategy(Strategy):
    """Each cell and block leaves rows that go up, and sends the final ones to be finished."""

    def __init__(self, shape: ReducedRows) -> None:
        self._key = shape.key

    def made(self, run: CellRun) -> CellResults:
        made = run.map()
        with run.tools.turns.map(run.usage):
            made.rows, made.final = self._reduced(run.step, run.cell, rows_of(run, made))
        return made

    def leave(self, run: CellRun, made: CellResults) -> None:
        plan, step = run.tools.plan, run.step
        finish = plan.stages[plan.stages_of(step.index, "finish")[0]].grid
        files = run.write_files(made.files)
        sent = filed_by_id(made.final, step, finish) if made.final is not None else ()
        run.put(in_order([rows_of(run, made)]), files, sent)

    def merge(self, run: CellRun) -> None:
        tools, cell = run.tools, run.cell
        with tools.turns.merge(run.usage):
            rows = block_rows(tools.plan, run.stage_index, run.index, tools.parts)
            up, final = self._reduced(run.step, cell, rows)
            self.leave(run, CellResults(rows=up, final=final))

    def complete(self, run: CellRun) -> Iterator[pa.Table]:
        plan, step = run.tools.plan, run.step
        rows = sent_rows(plan, run.stage_index, run.index, run.tools.parts)
        if not rows.num_columns:  # nothing was sent here: the columns are those of final rows of no rows
            last = run.tools.cells.cell(plan.stages[levels_of(plan, run.stage)[-1]], 0)
            _, rows = self._reduced(step, last, step.task.no_rows(step.layout))
        yield from by_whole_keys(in_key_order(rows, self._key), self._key)

    def _reduced(self, step: Step, cell: Cell, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        """The rows of a block that go up, and those that are final."""
        up, final = step.task.reduce(cell, in_key_order(rows, self._key))
        if len(up) and cell.box == cell.bounds:
            raise WrongResult(
                f"Task {step.name} sends {len(up)} rows up from the last block, above which there is none: "
                "reduce must return them as final where cell.box is cell.bounds."
            )
        return up, final


def rows_of(run: CellRun, made: CellResults) -> pa.Table:
    """The rows made of a cell, be there none."""
    return made.rows if made.rows is not None else run.step.task.no_rows(run.step.layout)


@cache  # it is asked for every cell
def strategy_for(shape: Shape) -> Strategy:
    match shape:
        case Voxels():
            return Strategy()
        case RowByRow():
            return RowByRowStrategy()
        case MergedRows():
            return MergedRowByRowStrategy() if shape.row_by_row else MergedStrategy()
        case SentRows():
            return SentRowByRowStrategy() if shape.row_by_row else SentStrategy()
        case ReducedRows():
            return ReducedStrategy(shape)
