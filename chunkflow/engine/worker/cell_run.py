"""Run of one cell of a stage: reading, mapping and writing, each under its stage lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from chunkflow.data.info import LabelsInfo, TableInfo
from chunkflow.engine.planning.plan import Plan, Step
from chunkflow.engine.planning.stages import Stage
from chunkflow.engine.worker.inputs import Inputs
from chunkflow.engine.worker.parts import Parts
from chunkflow.engine.worker.results import CellResults, Results, TableFile, WrongResult, sort_out
from chunkflow.engine.worker.task_cells import TaskCells
from chunkflow.engine.worker.turns import Turns
from chunkflow.engine.worker.usage import Usage
from chunkflow.task import Cell, Files, WindowTooSmall


@dataclass(frozen=True)
class Tools:
    """Plan, readers, writers and stage locks that a worker does its cells with."""

    plan: Plan
    inputs: Inputs
    results: Results
    parts: Parts
    turns: Turns
    cells: TaskCells


@dataclass
class CellRun:
    """One cell of one stage, and what it takes of the worker."""

    tools: Tools
    stage_index: int
    index: int
    usage: Usage

    @property
    def stage(self) -> Stage:
        return self.tools.plan.stages[self.stage_index]

    @property
    def step(self) -> Step:
        return self.tools.plan.steps[self.stage.step]

    @cached_property
    def cell(self) -> Cell:
        return self.tools.cells.cell(self.stage, self.index)

    def masked_out(self) -> bool:
        return self.tools.inputs.masked_out(self.step, self.cell)

    def read(self, attempt: int = 0, without: str = "") -> dict[str, Any]:
        """The inputs of `map`, in the window of this attempt, but for the field `without`."""
        with self.tools.turns.read(self.usage):
            inputs, size = self.tools.inputs.read(self.step, self.cell, attempt, without)
            self.usage.bytes_in += size
        return inputs

    def map(self) -> CellResults:
        """Read and map, with the next larger window as long as the task asks for one."""
        last = self.tools.inputs.widest(self.step, self.cell.box) - 1
        attempt = 0
        while True:
            inputs = self.read(attempt)
            try:
                with self.tools.turns.map(self.usage):
                    result = self.step.task.map(self.cell, **inputs)
                break
            except WindowTooSmall:
                if attempt >= last:
                    raise
            attempt += 1
            del inputs  # before the larger one is read
        made = sort_out(self.step, result)
        self.usage.counts = made.counts
        return made

    def map_row_by_row(self) -> Iterator[pa.Table]:
        """The rows that `map` makes of each piece of a table.

        Of the other inputs the next larger window is read once a piece asks for it, and kept.
        """
        step, cell, usage = self.step, self.cell, self.usage
        field, (product, *_) = next(iter(step.inputs.items()))
        last = self.tools.inputs.widest(step, cell.box) - 1
        attempt = 0
        others = self.read(attempt, field)
        for rows in self.tools.inputs.rows(product, cell.box):
            usage.bytes_in += rows.nbytes
            while True:
                try:
                    with self.tools.turns.map(usage):
                        made = sort_out(step, step.task.map(cell, **{field: rows}, **others))
                    break
                except WindowTooSmall:
                    if attempt >= last:
                        raise
                    attempt += 1
                    others = self.read(attempt, field)
            if made.files:
                raise WrongResult(
                    f"Task {step.name} goes row by row, so not map but finish must return its files."
                )
            for what, count in made.counts.items():
                usage.counts[what] = usage.counts.get(what, 0) + count
            if made.rows is not None:
                yield made.rows

    def finish(self, pieces: Iterator[pa.Table], others: Mapping[str, Any]) -> None:
        """Make complete rows, and what else is read, into the table or the files of the step."""
        files: dict[str, list[str]] = {}
        turns, step, cell = self.tools.turns, self.step, self.cell
        with TableFile() as table:
            while True:
                with turns.map(self.usage):
                    rows = next(pieces, None)
                    if rows is None:
                        break
                    made = sort_out(step, step.task.finish(cell, rows, **others))
                    if made.rows is not None:
                        table.add(made.rows)
                with turns.write(self.usage):
                    for name, written in self.write_files(made.files).items():
                        files.setdefault(name, []).extend(written)
            with turns.write(self.usage):
                self.write_table(table)
                self.put((), files)

    def write_layers(self, made: CellResults) -> bool:
        """Write the voxels of all layers; returns whether they are all empty."""
        empty = True
        results, box = self.tools.results, self.stage.grid.box(self.index)
        for name, product in self.step.layer_outputs:
            chunk = results.ready_chunk(self.step, name, made.chunks.get(name), box)
            empty = empty and isinstance(product.info, LabelsInfo) and not chunk.array.any()
            results.write_chunk(product, chunk, self.usage)
        return empty and bool(self.step.layer_outputs)

    def write_table(self, table: TableFile) -> None:
        """Write this cell's file of the tables that the step makes."""
        for product in self.step.outputs.values():
            if isinstance(product.info, TableInfo):
                self.tools.results.write_table(product, self.index, table.end(self.step), self.usage)

    def write_files(self, files: Mapping[str, Files]) -> dict[str, list[str]]:
        """Write files into the folders of the outputs; returns their names, by the outputs."""
        for name, written in files.items():
            self.tools.results.write_files(self.step.outputs[name], written, self.usage)
        return {name: list(written) for name, written in files.items()}

    def put(
        self,
        rows: Iterable[pa.Table],
        files: Mapping[str, Sequence[str]] | None = None,
        sent: Iterable[tuple[int, pa.Table]] | None = None,
    ) -> None:
        """Leave a part for the stages that follow."""
        self.usage.bytes_out += self.tools.parts.put(self.stage.name, self.index, rows, files, sent)
