"""The plan of a job as it would run here: its inputs described, its chunk size chosen."""

from __future__ import annotations

import os

import psutil

from chunkflow.data.describe import describe
from chunkflow.data.folder import Folder
from chunkflow.data.info import LayerInfo, RoleKind
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.chunk_size import largest_chunk
from chunkflow.engine.planning.forecast import usual_memory
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.errors import BadInput
from chunkflow.geometry import Box


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
        begun = ledger.state.job.plan
        return Plan.of(job, once, box, begun.chunk, begun.cells)
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
