"""What is shown of a work folder: the job's layers that exist, and whose ids its outputs name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.people.viewing.shown import layers_to_show
from tests.support.jobs import make_job, make_layer, run_job

TASKS = """
import numpy as np
import pyarrow as pa
from chunkflow.shapes import MergedRows
from chunkflow.task import Annotations, Image, Labels, Meshes, Objects, Out, Task

class Find(Task):
    image: Image
    labels: Labels = Out()

    def map(self, cell, image):
        return image.like((image.array > 0).astype(np.uint64))

class Count(Task):
    labels: Labels
    objects: Objects = Out()
    shape = MergedRows()

    def map(self, cell, labels):
        return pa.table({"id": pa.array([1], pa.uint64()), "n": [int((labels.array > 0).sum())]})

    def merge(self, rows):
        return rows.group_by("id").aggregate([("n", "sum")]).rename_columns(["id", "n"])

class Surface(Task):
    labels: Labels
    meshes: Meshes = Out()

    def map(self, cell, labels):
        return {f"1:0:{cell.index}": b"mesh"}

class Points(Task):
    objects: Objects
    annotations: Annotations = Out()

    def map(self, cell, objects):
        return {"info": b"{}"}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job with labels of its own and others, and meshes and points of both."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "work_layers_tasks.py").write_text(TASKS)
    array = np.ones((64, 32, 32), dtype=np.uint8)
    make_layer(folder / "dapi", array)
    make_layer(folder / "other", array.astype(np.uint64), "segmentation")
    return folder


def run(place: Path, monkeypatch: pytest.MonkeyPatch, box: Box | None = None) -> str:
    monkeypatch.syspath_prepend(str(place))
    layers = {name: str(place / name) for name in ("dapi", "nuclei", "other", "surfaces", "cells")}
    tasks = [
        {"work_layers_tasks:Find": {"image": "dapi", "labels": "nuclei"}},
        {"work_layers_tasks:Count": {"labels": "nuclei", "objects": "objects"}},
        {"work_layers_tasks:Surface": {"labels": "nuclei"}},
        {"work_layers_tasks:Surface": {"labels": "other", "meshes": "surfaces"}},
        {"work_layers_tasks:Points": {"objects": "objects", "annotations": "cells"}},
    ]
    job = make_job(place, layers, tasks, storage=[32, 32, 32], chunk=[32, 32, 32])
    assert run_job(job, box) == "complete"
    return job.work


def test_the_layers_of_a_job_are_shown_with_their_links(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = run(place, monkeypatch)
    layers, links = layers_to_show([work])
    urls = {name: full_url(str(place / name)) for name in ("dapi", "nuclei", "other", "surfaces", "cells")}
    assert layers == urls
    assert links["cells"] == urls["nuclei"]
    assert links["surfaces"] == urls["other"]


def test_layers_and_jobs_are_shown_together(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = run(place, monkeypatch)
    layers, links = layers_to_show([str(place / "cells"), work])
    assert layers["cells"] == layers["cells-2"]
    assert "cells" not in links
    assert links["cells-2"] == layers["nuclei"]


def test_a_run_on_a_part_shows_its_own_outputs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box((0, 0, 0), (32, 32, 32))
    work = f"{run(place, monkeypatch, box)}/try/{box}"
    layers, links = layers_to_show([work])
    assert layers["dapi"] == full_url(str(place / "dapi"))
    assert layers["nuclei"] == f"{work}/layers/nuclei"
    assert links["cells"] == layers["nuclei"]


def test_a_folder_without_a_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no job has run there"):
        layers_to_show([str(tmp_path)])
