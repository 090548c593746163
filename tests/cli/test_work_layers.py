"""What is shown of a work folder: the job's layers that exist, and whose ids its outputs name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chunkflow.errors import BadInput
from chunkflow.job import Job
from chunkflow.ledger import Ledger
from chunkflow.storage import Folder
from cli.view import layers_to_show
from cli.work_layers import layers_of_work, links_of

TASKS = """
from chunkflow.task import Annotations, Image, Labels, Meshes, Objects, Out, Task

class Find(Task):
    image: Image
    labels: Labels = Out()

class Count(Task):
    labels: Labels
    images: list[Image] = []
    objects: Objects = Out()

class Surface(Task):
    labels: Labels
    meshes: Meshes = Out()

class Points(Task):
    objects: Objects
    annotations: Annotations = Out()
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    (tmp_path / "work_layers_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    layers = {name: f"data/{name}" for name in ("dapi", "nuclei", "other", "surfaces", "cells")}
    document = {
        "job": "rat",
        "work": "work",
        "layers": layers,
        "tasks": [
            {"work_layers_tasks:Find": {"image": "dapi", "labels": "nuclei"}},
            {"work_layers_tasks:Count": {"labels": "nuclei", "images": ["dapi"], "objects": "objects"}},
            {"work_layers_tasks:Surface": {"labels": "other", "meshes": "surfaces"}},
            {"work_layers_tasks:Points": {"objects": "objects", "annotations": "cells"}},
        ],
    }
    return Job.from_document(document, lambda name: name, tmp_path)


def write_ledger(job: Job, created: list[str], work: str = "") -> None:
    with Ledger.open(Folder(work or job.work)) as ledger:
        recorded = {"spec": {}, "job": job.model_dump(mode="json"), "chunk": [64, 64, 64]}
        ledger.record_job(recorded, {}, {"Find": 1})
        for url in created:
            ledger.record_created(url, "Find")


def make(url: str, info: str = "{}") -> None:
    folder = Path(url.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "info").write_text(info)


def test_the_layers_that_exist_are_shown(job: Job) -> None:
    urls = {name: entry.url for name, entry in job.layers.items()}
    for name in ("dapi", "nuclei", "cells"):
        make(urls[name])
    write_ledger(job, [urls["nuclei"], urls["nuclei"] + "/mesh", f"{job.work}/tables/objects", urls["cells"]])
    assert layers_of_work(job.work).urls == {name: urls[name] for name in ("dapi", "nuclei", "cells")}


def test_outputs_are_linked_to_the_labels_they_come_from(job: Job) -> None:
    assert links_of(job) == {"objects": "nuclei", "surfaces": "other", "cells": "nuclei"}


def test_a_run_on_a_part_shows_its_own_outputs(job: Job) -> None:
    urls = {name: entry.url for name, entry in job.layers.items()}
    work = f"{job.work}/try"
    make(urls["dapi"])
    make(urls["nuclei"])
    make(f"{work}/layers/nuclei")
    write_ledger(job, [f"{work}/layers/nuclei"], work)
    assert layers_of_work(work).urls == {"dapi": urls["dapi"], "nuclei": f"{work}/layers/nuclei"}


def test_two_jobs_are_shown_together(job: Job, tmp_path: Path) -> None:
    urls = {name: entry.url for name, entry in job.layers.items()}
    for url in urls.values():
        make(url)
    write_ledger(job, [urls["nuclei"], urls["cells"]])
    make(str(tmp_path / "cells"))
    layers, links = layers_to_show([str(tmp_path / "cells"), job.work])
    assert layers["cells"] == f"file://{tmp_path}/cells"
    assert layers["cells-2"] == urls["cells"]
    assert links["cells-2"] == urls["nuclei"]


def test_a_folder_without_a_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no ledger"):
        layers_of_work(str(tmp_path))


def test_the_ledger_survives_a_task_that_is_not_at_hand(job: Job) -> None:
    entries = [entry.model_copy(update={"type": "not_there:Task"}) for entry in job.tasks]
    gone = Job.model_validate(json.loads(job.model_copy(update={"tasks": entries}).model_dump_json()))
    assert links_of(gone) == {}
