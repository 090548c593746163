"""Layers that lie in the work folder, unless a layer of the job has their name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chunkflow.chunk import Chunk
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.jobs.planned import open_plan
from chunkflow.task import Cell, Image, Out, Task
from tests.support.jobs import make_job, make_layer, read_layer, run_job

INVERSE = "tests.chunkflow.engine.planning.test_layers_in_work:InverseInWork"
ARRAY = np.random.default_rng(2).integers(0, 255, (40, 32, 20)).astype(np.uint8)


class InverseInWork(Task):
    """What is dark becomes bright."""

    image: Image
    inverse: Image = Out("the inverse", in_work=True)

    def map(self, cell: Cell, image: Chunk) -> Chunk:
        return image.like(255 - image.array)


def layers(folder: Path, *made: str) -> dict[str, str]:
    return {"image": make_layer(folder / "image", ARRAY)} | {name: str(folder / name) for name in made}


def test_a_layer_lies_in_the_work_folder_and_later_tasks_read_it(tmp_path: Path) -> None:
    """Of the name that it is given, or of the task's and the field's, also in a run on a part."""
    tasks = [
        {INVERSE: {"image": "image"}},
        {INVERSE: {"image": "InverseInWork.inverse", "inverse": "again"}},
    ]
    job = make_job(tmp_path, layers(tmp_path), tasks, chunk=[16, 16, 16], storage=[16, 16, 16])
    assert run_job(job) == "complete"
    kept = tmp_path / "work" / "layers"
    assert np.array_equal(read_layer(kept / "InverseInWork.inverse"), 255 - ARRAY)
    assert np.array_equal(read_layer(kept / "again"), ARRAY)
    box = Box((16, 0, 0), (32, 16, 16))
    assert run_job(job, box) == "complete"
    part = tmp_path / "work" / "try" / str(box) / "layers" / "again"
    assert np.array_equal(read_layer(part), ARRAY[16:32, :16, :16])


def test_a_layer_of_the_job_says_where_it_lies(tmp_path: Path) -> None:
    tasks = [{INVERSE: {"image": "image", "inverse": "given"}}]
    assert run_job(make_job(tmp_path, layers(tmp_path, "given"), tasks)) == "complete"
    assert np.array_equal(read_layer(tmp_path / "given"), 255 - ARRAY)
    assert not (tmp_path / "work" / "layers").exists()


@pytest.mark.parametrize("name", ["../given", "a/b"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    job = make_job(tmp_path, layers(tmp_path), [{INVERSE: {"image": "image", "inverse": name}}])
    with pytest.raises(BadInput, match="not among the job's layers"):
        open_plan(job)
