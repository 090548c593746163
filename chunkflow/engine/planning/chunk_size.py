"""The chunk size of a job that names none: the largest that its workers can hold.

1. Storage chunks are doubled along the axis that is shortest in space, as long as every step's cells of that
   size fit into the memory of a worker, and every worker is left a few.
2. Then the cells of each step that sizes its own are doubled further in the same way, by its memory alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunkflow.engine.planning.binding import NotAligned
from chunkflow.engine.planning.forecast import worker_memory
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Describe, Plan, Step
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, vec

CHUNKS_A_WORKER = 4


def largest_chunk(job: Job, describe: Describe, box: Box | None, budget: float, workers: int) -> Plan:
    """The plan with the largest chunk that a worker can hold and that leaves every worker a few chunks."""
    try:
        plan = Plan.of(job, describe, box, job.storage)
    except NotAligned as error:  # a layer is sharded
        plan = Plan.of(job, describe, box, error.write_block)
    smallest = plan.chunk
    own = {step.name: smallest for step in plan.steps if step.task.sizes_cells}
    plan = Plan.of(job, describe, box, smallest, own) if own else plan
    if worker_memory(plan) > budget:
        raise BadInput(
            f"Even one storage chunk or shard of {list(plan.chunk)} would take "
            f"{worker_memory(plan) / 2**30:.1f} GiB a worker, more than the {budget / 2**30:.1f} GiB there "
            "are; give a smaller storage chunk or more memory."
        )
    growth = _Growth(job, describe, box, budget, CHUNKS_A_WORKER * workers)
    if any(step.name not in own for step in plan.steps):
        plan = growth.of_chunks(plan)
    for name in own:
        plan = growth.of_step(plan, name)
    return plan


@dataclass(frozen=True)
class _Growth:
    """Doubles cells as long as they fit into the memory of a worker, and there are enough of them."""

    job: Job
    describe: Describe
    box: Box | None
    budget: float
    fewest: int

    def of_chunks(self, plan: Plan) -> Plan:
        """The plan with the largest chunks."""
        while (larger := _doubled(_by_chunks(plan), plan.chunk)) is not None:
            candidate = Plan.of(self.job, self.describe, self.box, larger, plan.sizes.own)
            if not self._fits(candidate, _by_chunks(candidate)):
                break
            plan = candidate
        return plan

    def of_step(self, plan: Plan, name: str) -> Plan:
        """The plan with the largest cells of one step that sizes its own."""
        index = next(step.index for step in plan.steps if step.name == name)
        while (larger := _doubled(plan.steps[index], plan.sizes.of(name))) is not None:
            own = {**plan.sizes.own, name: larger}
            candidate = Plan.of(self.job, self.describe, self.box, plan.chunk, own)
            if not self._fits(candidate, candidate.steps[index]):
                break
            plan = candidate
        return plan

    def _fits(self, plan: Plan, step: Step) -> bool:
        return len(step.grid) >= self.fewest and worker_memory(plan) <= self.budget


def _by_chunks(plan: Plan) -> Step:
    """The first step whose cells are the chunks, of those that cover most: links between tiles, or blocks of
    meshes, are as many whatever the chunks, and a small inner layer may happen to be one chunk."""
    steps = [step for step in plan.steps if step.name not in plan.sizes.own]
    by_chunks = (step for step in steps if step.grid.cell == plan.chunk)
    return max(by_chunks, key=lambda step: step.region.voxels, default=steps[0])


def _doubled(step: Step, cell: Vec) -> Vec | None:
    """The cell doubled along its physically shortest axis that the volume still exceeds."""
    size = step.region.size
    voxel = next((p.info for p in step.outputs.values()), step.layout.main).voxel_size
    axes = [axis for axis in range(3) if cell[axis] < size[axis]]
    if not axes:
        return None
    axis = min(axes, key=lambda a: cell[a] * voxel[a])
    return vec(n * 2 if a == axis else n for a, n in enumerate(cell))
