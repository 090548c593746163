"""Init: the job file it prints is a job as it stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from cloudvolume import CloudVolume

from chunkflow.engine.planning.draft import inputs_of, job_text
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.words import free_name, layer_name
from cli.jobs.init import init


def make(folder: Path, dtype: str, kind: str) -> str:
    array = np.ones((20, 10, 5), dtype=dtype)
    CloudVolume.from_numpy(
        array, f"file://{folder}", (100, 100, 500), layer_type=kind, compress="", progress=False
    )
    return str(folder)


def job_of(text: str, tmp_path: Path) -> Job:
    return Job.from_document(yaml.safe_load(text), tmp_path)


def test_images_give_a_job_that_finds_nuclei(tmp_path: Path) -> None:
    locations = [make(tmp_path / "rat" / name, "uint16", "image") for name in ("dapi", "c fos")]
    job = job_of(job_text(inputs_of(locations)), tmp_path)
    assert [entry.name for entry in job.tasks] == ["segment", "measure", "mesh", "downsample", "annotate"]
    assert job.tasks[1].parameters["images"] == ["dapi", "c_fos"]
    assert job.layers["c_fos"].url == f"file://{tmp_path}/rat/c fos"
    assert job.work == f"file://{tmp_path}/rat/work"
    assert job.name == "rat"
    for entry in job.tasks:
        entry.load(job.modules)


def test_labels_give_a_job_that_measures_and_meshes_them_elsewhere(tmp_path: Path) -> None:
    image, labels = (
        make(tmp_path / "em", "uint8", "image"),
        make(tmp_path / "neurons", "uint64", "segmentation"),
    )
    job = job_of(job_text(inputs_of([image, labels])), tmp_path)
    assert [entry.name for entry in job.tasks] == ["measure", "mesh", "annotate"]
    assert job.tasks[1].parameters == {"labels": "neurons", "meshes": "meshes"}
    assert job.layers["meshes"].url == f"file://{tmp_path}/meshes"
    assert "uint64, 20 x 10 x 5 voxels of 100 x 100 x 500 nm" in job_text(inputs_of([labels]))
    for entry in job.tasks:
        entry.load(job.modules)


def test_names_of_outputs_are_never_those_of_inputs(tmp_path: Path) -> None:
    locations = [make(tmp_path / name, "uint8", "image") for name in ("nuclei", "cells", "work")]
    job = job_of(job_text(inputs_of(locations)), tmp_path)
    assert {"nuclei-2", "cells-2"} <= set(job.layers)
    assert job.work.endswith("/work-2")


def test_a_file_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    location = make(tmp_path / "dapi", "uint16", "image")
    init([location], to=tmp_path / "job.yaml")
    before = (tmp_path / "job.yaml").read_text()
    job_of(before, tmp_path)
    with pytest.raises(BadInput, match="exists already"):
        init([location], to=tmp_path / "job.yaml")


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    with pytest.raises(BadInput, match="begins from images or labels"):
        inputs_of([str(tmp_path)])


def test_names_of_layers() -> None:
    assert layer_name("c fos (488).v2", "layer") == "c_fos_488_v2"
    assert layer_name("...", "layer") == "layer"


def test_names_that_are_taken_get_a_number() -> None:
    assert free_name("a", {"b"}) == "a"
    assert free_name("a", {"a": "", "a-2": ""}) == "a-3"
