"""What exists at a URL: asked for each input of a job before anything is planned."""

from __future__ import annotations

import json
import os

import psutil

from chunkflow.encodings import require_codec
from chunkflow.errors import BadInput
from chunkflow.forecast import largest_chunk, usual_memory
from chunkflow.geometry import Box
from chunkflow.job import Job
from chunkflow.plan import Plan
from chunkflow.roles import RoleKind
from chunkflow.storage import Folder
from chunkflow.volume import LayerInfo


def describe(url: str, mip: int, kind: RoleKind) -> LayerInfo:
    """The layer or table at a URL."""
    if kind != "table":
        layer = LayerInfo.of_layer(url, mip)
        require_codec(url, layer.encoding)
        return layer
    data = Folder(url).get("info")
    document = json.loads(data) if data else {}
    if document.get("@type") != "chunkflow_table":
        raise BadInput(f"There is no table of chunkflow at {url} (no info file that says so).")
    # where it lies now: what its info says is where it was made
    return LayerInfo.model_validate(document["table"]).model_copy(update={"url": url})


def open_plan(job: Job, box: Box | None = None, workers: int = 0) -> Plan:
    """The plan of a job; where it names no chunk size, the one that the job began with or the largest that
    fits a worker's memory."""
    known: dict[tuple[str, int], LayerInfo] = {}

    def once(url: str, mip: int, kind: RoleKind) -> LayerInfo:
        if (url, mip) not in known:
            known[url, mip] = describe(url, mip, kind)
        return known[url, mip]

    if job.chunk is not None:
        plan = Plan.of(job, once, box, job.chunk)
        _refuse_too_little_memory(plan)
        return plan
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
