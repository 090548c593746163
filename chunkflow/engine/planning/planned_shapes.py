"""What the shape of a task decides before anything runs: the stages after the map, how its table is filed."""

from __future__ import annotations

from typing import Any, Protocol

from chunkflow.data.info import TableInfo
from chunkflow.engine.planning.stages import Stage, wait_for, wait_for_all
from chunkflow.engine.planning.steps import Product, Step, finds_whole_objects
from chunkflow.geometry import Grid, Vec, finish_cell
from chunkflow.shapes import MergedRows, ReducedRows, RowByRow, SentRows, Shape, Voxels

StepInputs = dict[str, tuple[Product, ...]]


class PlannedShape(Protocol):
    """The planning of one shape."""

    def after_map(self, step: Step, own: int) -> list[Stage]:
        """The stages of a step that follow its map, which is the stage `own`."""

    def filing(self, inputs: StepInputs, chunk: Vec) -> dict[str, Any]:
        """How the files of a table are cut, as far as its task does not say so itself."""


def planned(shape: Shape) -> PlannedShape:
    match shape:
        case Voxels():
            return PlannedVoxels()
        case RowByRow():
            return PlannedRowByRow()
        case SentRows():
            return PlannedSending()
        case MergedRows() | ReducedRows():
            return PlannedTree(shape)


class PlannedVoxels:
    """Nothing follows the map, and there is no table."""

    def after_map(self, step: Step, own: int) -> list[Stage]:
        return []

    def filing(self, inputs: StepInputs, chunk: Vec) -> dict[str, Any]:
        return {}


class PlannedRowByRow(PlannedVoxels):
    """The map writes a table that is filed as the one that it reads."""

    def filing(self, inputs: StepInputs, chunk: Vec) -> dict[str, Any]:
        read = next(iter(inputs.values()))[0].table
        return {"connected": read.connected, "cell": read.cell}


class PlannedSending(PlannedVoxels):
    """Cells that rows are sent to finish once all are sent; the task says how its table is filed."""

    def after_map(self, step: Step, own: int) -> list[Stage]:
        return [_finish(step, step.task.gathers(step.layout, step.region), own, step.grid)]


class PlannedTree:
    """A tree of 2x2x2 blocks above the map; rows are filed by space where their ids say where they lie."""

    def __init__(self, shape: MergedRows | ReducedRows) -> None:
        self._has_ids = shape.key == ("id",)

    def after_map(self, step: Step, own: int) -> list[Stage]:
        stages: list[Stage] = []
        grid, below = step.grid, own
        while len(grid) > 1:
            coarse = grid.coarser()
            wait = wait_for(coarse, below, grid, lambda box: box)
            stages.append(Stage(step.index, step.name, "merge", len(stages) + 1, coarse, (wait,)))
            grid, below = coarse, own + len(stages)
        return [*stages, _finish(step, self._finish_grid(step), below, grid)]

    def filing(self, inputs: StepInputs, chunk: Vec) -> dict[str, Any]:
        by_space = self._has_ids and finds_whole_objects(inputs)
        return {"connected": by_space, "cell": finish_cell(chunk) if by_space else None}

    def _finish_grid(self, step: Step) -> Grid:
        """The cells of space by whose voxels complete rows are named."""
        for product in step.outputs.values():
            if isinstance(product.info, TableInfo):
                return product.info.grid
        if not (self._has_ids and finds_whole_objects(step.inputs)):
            return Grid.whole(step.region)
        return Grid(step.region, finish_cell(step.grid.cell), step.volume.start)


def _finish(step: Step, grid: Grid, below: int, below_grid: Grid) -> Stage:
    return Stage(step.index, step.name, "finish", 0, grid, (wait_for_all(grid, below, below_grid),))
