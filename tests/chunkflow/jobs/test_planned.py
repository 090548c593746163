"""What exists is told from where it lies, and a chunk that cannot fit is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chunkflow.data.describe import describe
from chunkflow.data.info import full_url
from chunkflow.engine.planning.forecast import usual_memory
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import plan_of_spec, spec_of
from chunkflow.errors import BadInput
from chunkflow.jobs.planned import open_plan
from tests.support.jobs import make_job, make_layer, read_table, run_job

OWN = "tests.support.own_tasks:"


def counting(folder: Path, **keys: object) -> Job:
    labels = np.ones((32, 32, 32), np.uint32)
    url = make_layer(folder / "labels", labels, "segmentation")
    tasks = [{OWN + "Count": {"labels": "labels", "objects": "objects"}}]
    layers = {"labels": url, "objects": str(folder / "objects")}
    return make_job(folder, layers, tasks, chunk=[32, 32, 32], storage=[32, 32, 32], **keys)


def test_a_table_that_was_moved_is_where_it_lies_now(tmp_path: Path) -> None:
    assert run_job(counting(tmp_path)) == "complete"
    moved = full_url(str((tmp_path / "objects").rename(tmp_path / "moved")))
    assert describe(moved, 0, "table").url == moved
    doubling = {OWN + "Rows": {"objects": "moved", "doubled": "doubled"}}
    job = make_job(tmp_path / "next", {"moved": moved}, [doubling])
    plan = open_plan(job)
    assert plan_of_spec(spec_of(plan), plan.job.modules).products == plan.products
    assert run_job(job) == "complete"
    (row,) = read_table(tmp_path / "next" / "work" / "tables" / "doubled").to_pylist()
    assert (row["voxels"], row["double"]) == (32**3, 2 * 32**3)


def test_a_chunk_that_cannot_fit_is_refused_with_what_to_do(tmp_path: Path) -> None:
    fits = usual_memory(open_plan(counting(tmp_path))) / 2**30
    open_plan(counting(tmp_path, memory=fits * 1.01))
    with pytest.raises(BadInput, match="make chunk smaller, leave it out, or raise memory"):
        open_plan(counting(tmp_path, memory=fits * 0.99))
