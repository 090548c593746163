"""Segment properties: what is written is what the table says, and what cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cloudvolume import CloudVolume

from chunkflow.describe import open_plan
from chunkflow.geometry import Vec
from chunkflow.job import Job
from chunkflow.ledger import Ledger
from chunkflow.storage import Folder
from tests.same import Way, files_of, same_everywhere
from tests.support import make_job, make_layer, read_table, run_job

SIZE = (60, 50, 40)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tag")
    rng = np.random.default_rng(3)
    labels = np.kron(rng.integers(0, 60, (6, 5, 4)), np.ones((10, 10, 10))).astype(np.uint64)
    make_layer(folder / "labels", labels, "segmentation")
    make_layer(folder / "image", rng.integers(0, 3000, SIZE).astype(np.uint16))
    return folder


def job_of(source: Path, folder: Path, chunk: Vec = (32, 32, 32), **tag: Any) -> Job:
    layers = {
        "source": str(source / "labels"),
        "image": str(source / "image"),
        "cells": str(folder / "cells"),
    }
    tasks = [
        {"copy": {"source": "source", "target": "cells"}},
        {"measure": {"labels": "cells", "images": ["image"]}},
        {"coincide": {"objects": "objects", "channels": {"image": 1500.0}}},
        {"tag": {"objects": "combined", "labels": "cells"} | tag},
    ]
    return make_job(folder, layers, tasks, chunk=list(chunk), storage=[16, 16, 16])


def test_tags_and_numbers_of_every_segment(source: Path, tmp_path: Path) -> None:
    assert run_job(job_of(source, tmp_path)) == "complete"
    info = json.loads((tmp_path / "cells" / "info").read_bytes())
    assert info["segment_properties"] == "segment_properties"
    found = json.loads((tmp_path / "cells" / "segment_properties" / "info").read_bytes())
    assert found["@type"] == "neuroglancer_segment_properties"
    rows = read_table(tmp_path / "work" / "tables" / "combined").to_pylist()
    assert found["inline"]["ids"] == [str(row["id"]) for row in rows]
    properties = {entry["id"]: entry for entry in found["inline"]["properties"]}
    assert properties.keys() == {"tags", "volume_um3", "diameter_um"}
    tags = [[properties["tags"]["tags"][n] for n in values] for values in properties["tags"]["values"]]
    assert tags == [["image", "image_positive"] if row["image_positive"] else ["none"] for row in rows]
    assert properties["volume_um3"]["values"] == pytest.approx([row["volume_um3"] for row in rows], rel=1e-6)
    assert CloudVolume(f"file://{tmp_path}/cells", progress=False).info == info


def test_some_rows_and_columns(source: Path, tmp_path: Path) -> None:
    job = job_of(source, tmp_path, where={"combination": "image"}, properties=["image_max", "cut"])
    assert run_job(job) == "complete"
    found = json.loads((tmp_path / "cells" / "segment_properties" / "info").read_bytes())["inline"]
    rows = [
        r for r in read_table(tmp_path / "work" / "tables" / "combined").to_pylist() if r["image_positive"]
    ]
    assert found["ids"] == [str(row["id"]) for row in rows]
    numbers = next(entry for entry in found["properties"] if entry["id"] == "image_max")
    assert numbers["values"] == [row["image_max"] for row in rows]


def test_the_same_however_it_was_cut(source: Path, tmp_path: Path) -> None:
    def files(job: Job) -> dict[str, Any]:
        return files_of(open_plan(job).products["cells/segment_properties", 0].info.url)

    def job(folder: Path, chunk: Vec) -> Job:
        return job_of(source, folder, chunk)

    same_everywhere(tmp_path, job, (64, 64, 64), [Way((16, 32, 48), 2, shuffled=True)], files)


@pytest.mark.parametrize(
    ("tag", "step", "said"),
    [
        ({"limit": 10}, "tag/write.prepare", "choose some by `where`"),
        ({"properties": ["klass"]}, "tag/choose", "no column 'klass'"),
        ({"where": {"klass": "neuron"}}, "tag/choose", "no column 'klass'"),
    ],
)
def test_what_cannot_be_tagged(
    source: Path, tmp_path: Path, tag: dict[str, Any], step: str, said: str
) -> None:
    job = job_of(source, tmp_path, **tag)
    assert run_job(job) == "incomplete"
    (failure,) = Ledger.load(Folder(job.work)).state.steps[step].failures.values()
    assert said in failure.traceback
