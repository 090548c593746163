"""The chunk size of a job that names none: the largest that its workers can hold."""

from __future__ import annotations

from chunkflow.engine.planning.binding import NotAligned
from chunkflow.engine.planning.forecast import worker_memory
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Describe, Plan, Step
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, vec

CHUNKS_A_WORKER = 4


def largest_chunk(job: Job, describe: Describe, box: Box | None, budget: float, workers: int) -> Plan:
    """The plan with the largest chunk that a worker can hold and that leaves every worker a few chunks:
    storage chunks, doubled along the axis that is shortest in space as long as that fits."""
    try:
        plan = Plan.of(job, describe, box, job.storage)
    except NotAligned as error:  # a layer is sharded
        plan = Plan.of(job, describe, box, error.write_block)
    if worker_memory(plan) > budget:
        raise BadInput(
            f"Even one storage chunk or shard of {list(plan.chunk)} would take "
            f"{worker_memory(plan) / 2**30:.1f} GiB a worker, more than the {budget / 2**30:.1f} GiB there "
            "are; give a smaller storage chunk or more memory."
        )
    while True:
        larger = _doubled(plan)
        if larger is None:
            return plan
        candidate = Plan.of(job, describe, box, larger)
        enough = len(_by_chunks(candidate).grid) >= CHUNKS_A_WORKER * workers
        if not enough or worker_memory(candidate) > budget:
            return plan
        plan = candidate


def _by_chunks(plan: Plan) -> Step:
    """The first step whose cells are the chunks, of those that cover most: links between tiles, or blocks of
    meshes, are as many whatever the chunks, and a small inner layer may happen to be one chunk."""
    by_chunks = (step for step in plan.steps if step.grid.cell == plan.chunk)
    return max(by_chunks, key=lambda step: step.region.voxels, default=plan.steps[0])


def _doubled(plan: Plan) -> Vec | None:
    """The chunk doubled along its physically shortest axis that the volume still exceeds."""
    step = _by_chunks(plan)
    size = step.region.size
    voxel = next((p.info for p in step.outputs.values()), step.layout.main).voxel_size
    axes = [axis for axis in range(3) if plan.chunk[axis] < size[axis]]
    if not axes:
        return None
    axis = min(axes, key=lambda a: plan.chunk[a] * voxel[a])
    return vec(n * 2 if a == axis else n for a, n in enumerate(plan.chunk))
