"""The plan of a job as it would run here: its inputs described, its chunk size chosen."""

from __future__ import annotations

import os

import psutil

from chunkflow.data.describe import describe
from chunkflow.data.folder import Folder
from chunkflow.data.info import LayerInfo, RoleKind
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.binding import NotAligned
from chunkflow.engine.planning.forecast import usual_memory, worker_memory
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Describe, Plan, Step
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, vec

CHUNKS_A_WORKER = 4


def open_plan(job: Job, box: Box | None = None, workers: int = 0, ledger: Ledger | None = None) -> Plan:
    """The plan of a job; where it names no chunk size, the one that the job began with or the largest that
    fits a worker's memory. `ledger` is that of the job's work folder, where it was loaded already."""
    known: dict[tuple[str, int], LayerInfo] = {}

    def once(url: str, mip: int, kind: RoleKind) -> LayerInfo:
        if (url, mip) not in known:
            known[url, mip] = describe(url, mip, kind)
        return known[url, mip]

    if job.chunk is not None:
        plan = Plan.of(job, once, box, job.chunk)
        _refuse_too_little_memory(plan)
        return plan
    ledger = ledger or Ledger.load(Folder(job.work_for(box)))
    if ledger.state.job is not None:
        return Plan.of(job, once, box, ledger.state.job.plan.chunk)
    workers = workers or os.cpu_count() or 1
    budget = min(job.memory * 2**30, 0.8 * psutil.virtual_memory().total / workers)
    return largest_chunk(job, once, box, budget, workers)


def _refuse_too_little_memory(plan: Plan) -> None:
    """A chunk that was asked for must fit as it usually is; a cell that asks for more is judged alone."""
    needed = usual_memory(plan)
    if needed > plan.job.memory * 2**30:
        raise BadInput(
            f"Chunks of {list(plan.chunk)} take about {needed / 2**30:.1f} GiB a worker; the job gives one "
            f"{plan.job.memory:g} GiB: make chunk smaller, leave it out, or raise memory."
        )


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
    """The first step whose cells are the chunks: links between tiles, or blocks of meshes, are as many
    whatever the chunks."""
    return next((step for step in plan.steps if step.grid.cell == plan.chunk), plan.steps[0])


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
