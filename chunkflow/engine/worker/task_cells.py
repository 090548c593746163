"""Cells as tasks see them: with what `setup` loaded and what `prepare` decided, each once a worker."""

from __future__ import annotations

import threading
from typing import Any

from chunkflow.engine.planning.plan import Plan, Step
from chunkflow.engine.planning.stages import Stage
from chunkflow.engine.worker.inputs import Inputs
from chunkflow.engine.worker.parts import Parts
from chunkflow.task import Cell


class TaskCells:
    """Makes the cells of one plan's tasks."""

    def __init__(self, plan: Plan, inputs: Inputs, parts: Parts) -> None:
        self._plan = plan
        self._inputs = inputs
        self._parts = parts
        self._loaded: dict[int, Any] = {}
        self._values: dict[int, dict[str, Any]] = {}
        self._loading = threading.Lock()

    def cell(self, stage: Stage, index: int) -> Cell:
        step = self._plan.steps[stage.step]
        with self._loading:
            if step.index not in self._loaded:
                self._loaded[step.index] = step.task.setup(step.layout)
        size = next((p.info.voxel_size for p in step.outputs.values()), step.layout.main.voxel_size)
        return Cell(
            index,
            stage.grid.box(index),
            step.region,
            step.volume,
            size,
            step.layout,
            self._decided(step),
            self._loaded[step.index],
        )

    def decide(self, step: Step) -> dict[str, Any]:
        """The values that the task of a step decides, which nobody is told."""
        prepare = step.task.prepare
        return (prepare(step.layout, self._inputs.samples(step)) or {}) if prepare is not None else {}

    def keep(self, step: Step, values: dict[str, Any]) -> None:
        """Take these values as decided, whatever the work folder says."""
        self._values[step.index] = values

    def _decided(self, step: Step) -> dict[str, Any]:
        if step.task.prepare is None:
            return {}
        if step.index not in self._values:
            self._values[step.index] = dict(self._parts.values(f"{step.name}.prepare"))
        return self._values[step.index]
