"""Seconds that cells of each step take, from a sample of them or from what has run."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from math import inf, prod, sqrt

from pydantic import BaseModel

from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.planning.stages import Stage
from chunkflow.engine.worker.worker import Worker


class CellSeconds(BaseModel):
    """Sum and spread of the seconds that cells of one step took."""

    voxels: int
    """Of a whole cell: a run with other chunks takes other times."""
    cells: int = 0
    seconds: float = 0.0
    squares: float = 0.0
    """Of the seconds of each."""
    speeds: list[str] = []
    """What its task measured of itself."""

    def add(self, seconds: float) -> None:
        self.cells += 1
        self.seconds += seconds
        self.squares += seconds * seconds

    def plus(self, other: CellSeconds) -> CellSeconds:
        """Both together, in cells of this one's size."""
        scale = self.voxels / other.voxels
        return CellSeconds(
            voxels=self.voxels,
            cells=self.cells + other.cells,
            seconds=self.seconds + scale * other.seconds,
            squares=self.squares + scale * scale * other.squares,
            speeds=[*self.speeds, *other.speeds],
        )

    @property
    def mean(self) -> float:
        return self.seconds / self.cells

    def error(self, among: int) -> float:
        """The standard error of the mean, where there are `among` cells in all."""
        if self.cells >= among:
            return 0.0
        if self.cells < 2:
            return inf
        variance = max(self.squares - self.cells * self.mean**2, 0.0) / (self.cells - 1)
        return sqrt(variance / self.cells * (1 - self.cells / among))


Measures = dict[str, CellSeconds]
"""By the name of the step."""


def measure_of(plan: Plan, step: str) -> CellSeconds:
    """Nothing measured yet of this step of the plan."""
    return CellSeconds(voxels=next(prod(s.grid.cell) for s in plan.steps if s.name == step))


def together(plan: Plan, found: Sequence[Mapping[str, CellSeconds]]) -> Measures:
    """Several measures as one, in cells of this plan; of steps that it does not have, nothing."""
    measures: Measures = {}
    for step in plan.steps:
        for one in found:
            if step.name in one:
                measures[step.name] = measures.get(step.name, measure_of(plan, step.name)).plus(
                    one[step.name]
                )
    return measures


def chosen_cells(plan: Plan, count: int) -> dict[int, list[int]]:
    """Cells of each step whose inputs exist, by chance but always the same: what they take tells of all."""
    chosen = {}
    for step in plan.steps:
        if all(product.maker is None for products in step.inputs.values() for product in products):
            cells = len(step.grid)
            chosen[step.index] = random.Random(cells).sample(range(cells), min(count, cells))
    return chosen


def map_stage(plan: Plan, step: int) -> Stage:
    return plan.stages[plan.stages_of(step, "map")[0]]


def measure(plan: Plan, chosen: Mapping[int, Sequence[int]]) -> Measures:
    """Do these cells here, without writing."""
    worker = Worker(plan, "sample", writes=False)
    measures = {}
    for index, cells in chosen.items():
        step = plan.steps[index]
        stage = plan.stages_of(index, "map")[0]
        measures[step.name] = measure_of(plan, step.name)
        worker.decide(step)
        worker.do(stage, cells[0])  # the first also compiles and opens
        for cell in cells:
            begin = time.perf_counter()
            worker.do(stage, cell)
            measures[step.name].add(time.perf_counter() - begin)
        measures[step.name].speeds = step.task.speeds(step.layout)
    return measures
