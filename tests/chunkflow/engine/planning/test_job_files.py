"""Jobs that cannot work are refused before anything is written; paths count from the job file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from chunkflow import Job
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.errors import BadInput
from tests.support.jobs import make_job, run_job
from tests.support.offset_jobs import COUNT, OWN, SMOOTH, TILES, job_of


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"chunk": [40, 32, 32]}, r"nearest sizes that work are \[32, 32, 32\] and \[48, 32, 32\]"),
        ({"chunk": [8, 16, 16]}, r"nearest size that works is \[16, 16, 16\]"),
    ],
)
def test_chunks_that_are_not_whole_storage_chunks_are_refused(
    tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        run_job(job_of(tmp_path, [SMOOTH], **keys))
    assert not (tmp_path / "work").exists()
    assert not (tmp_path / "smooth").exists()


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([{OWN + "Smooth": {"image": "image", "smooth": "image"}}], "which this job reads"),
        ([SMOOTH, SMOOTH], "smooth is written already by Smooth"),
        ([{OWN + "Smooth": {"image": "nothing", "smooth": "smooth"}}], "No layer is named 'nothing'"),
        (
            [TILES, COUNT, {OWN + "EvenAndTold": {"objects": "objects"}}],
            "must declare how its rows come together",
        ),
        (
            [{OWN + "Count": {"labels": "image", "objects": "o"}}],
            "labels must be labels, but image is an image",
        ),
        ([{OWN + "Unmapped": {"image": "image", "made": "smooth"}}], "the class Unmapped must define map"),
        (
            [{OWN + "Shapeless": {"image": "image", "made": "smooth"}}],
            "declare what becomes of its rows",
        ),
        ([{OWN + "Smooth": {"image": "image", "smooth": "elsewhere"}}], "not among the job's layers"),
        ([{OWN + "Smooth": {"image": "image@3", "smooth": "smooth"}}], "mip 3"),
        ([{OWN + "Smooth": {"image": "image", "smooth": "smooth", "raduis": 3}}], "'raduis' is unknown"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    tmp_path: Path, tasks: list[Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        run_job(job_of(tmp_path, tasks))
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"layer": {}}, "'layer' is unknown; known are job, work, chunk"),
        ({"heartbeat": -1}, "heartbeat: Input should be greater than 0, not -1"),
        ({"tasks": ()}, "'tasks' must be a list"),
    ],
)
def test_a_job_with_a_wrong_key_is_refused_in_one_sentence(
    tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    """As from its file, so when a notebook makes it."""
    parameters: dict[str, Any] = {"name": "made", "work": tmp_path, "tasks": ("segment",)}
    with pytest.raises(BadInput, match=said):
        Job(**(parameters | keys))
    assert Job(**parameters).tasks[0].type == "segment"


def test_a_map_that_returns_another_type_is_a_fault_of_the_task(tmp_path: Path) -> None:
    job = job_of(tmp_path, [{OWN + "WrongType": {"image": "image", "labels": "labels"}}])
    assert run_job(job) == "incomplete"
    step = Ledger.load(Folder(job.work)).state.stages["WrongType"]
    assert set(step.causes) == {"bug"}
    assert "returned float64 for labels, which is uint64" in step.failures[0].traceback


def test_paths_in_a_job_file_count_from_it(tmp_path: Path) -> None:
    tasks: list[dict[str, Any]] = [
        {"ingest": {"source": "stack.npy", "image": "image"}},
        {"classify": {"objects": "objects", "model": "/models/cells.skops"}},
        {
            "coincide": {
                "objects": "objects",
                "channels": {"cfos": "models/cfos.skops", "dapi": "auto", "sox": 3},
            }
        },
    ]
    job = make_job(tmp_path, {"image": "image"}, tasks)
    ingest, classify, coincide = (entry.parameters for entry in job.tasks)
    assert ingest["source"] == str(tmp_path / "stack.npy")
    assert classify["model"] == "/models/cells.skops"
    assert coincide["channels"] == {"cfos": f"{tmp_path}/models/cfos.skops", "dapi": "auto", "sox": 3}


STORED = {"url": "file:///first", "encoding": "compressed_segmentation", "sharded": True}


@pytest.mark.parametrize("name", ["nuclei", "Cy5.5"])
@pytest.mark.parametrize("how", ["layers", "settings", "--set"])
def test_a_layer_that_is_placed_elsewhere_is_stored_as_the_file_says(
    tmp_path: Path, name: str, how: str
) -> None:
    task = {"segment": {"image": "dapi", "labels": name}}
    file, place = tmp_path / "job.yaml", str(tmp_path / "second")
    layers = {"dapi": "file:///dapi", name: STORED}
    file.write_text(yaml.safe_dump({"job": "rat", "work": "work", "layers": layers, "tasks": [task]}))
    job = {
        "layers": lambda: Job.read(file, layers={name: place}),
        "settings": lambda: Job.read(file, settings={f"layers.{name}": place}),
        "--set": lambda: Job.from_file(file, [f"layers.{name}={place}"]),
    }[how]()
    assert set(job.layers) == {"dapi", name}
    assert job.layers["dapi"].url == "file:///dapi"
    assert job.layers[name].model_dump() == {**STORED, "url": f"file://{place}"}


def test_a_layer_that_the_file_does_not_name_is_added(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("{job: rat, work: work, tasks: [{segment: {image: Cy5.5, labels: nuclei}}]}")
    job = Job.read(file, layers={"Cy5.5": tmp_path / "image"})
    assert {name: entry.url for name, entry in job.layers.items()} == {"Cy5.5": f"file://{tmp_path}/image"}
    file.write_text("{job: rat, work: work, layers: [dapi], tasks: [segment]}")
    with pytest.raises(BadInput, match="layers must be names with places"):
        Job.read(file, layers={"dapi": tmp_path})
