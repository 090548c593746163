"""Segment properties: what is written is what the table says, and what cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cloudvolume import CloudVolume

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.geometry import Vec
from chunkflow.jobs.planned import open_plan
from tests.support.files.annotation_layers import VOLUME, make_rows, write_table
from tests.support.jobs import make_job, make_layer, read_table, run_job
from tests.support.same import Way, files_of, same_everywhere

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
        (
            {"where": {"volume": "large"}},
            "tag/choose",
            "the column 'volume' holds uint64, which 'large' is not",
        ),
    ],
)
def test_what_cannot_be_tagged(
    source: Path, tmp_path: Path, tag: dict[str, Any], step: str, said: str
) -> None:
    job = job_of(source, tmp_path, **tag)
    assert run_job(job) == "incomplete"
    (failure,) = Ledger.load(Folder(job.work)).state.stages[step].failures.values()
    assert said in failure.traceback


def tagged(folder: Path, rows: pa.Table, **tag: Any) -> tuple[list[int], dict[str, Any]]:
    """The ids, and the properties by their names, that a folder of its own is given."""
    make_layer(folder / "labels", np.ones(VOLUME.size, np.uint64), "segmentation", offset=VOLUME.start)
    layers = {
        "objects": write_table(folder / "table", rows, (64, 64, 64)),
        "labels": str(folder / "labels"),
        "tags": str(folder / "tags"),
    }
    task = {"tag": {"objects": "objects", "labels": "labels", "tags": "tags"} | tag}
    job = make_job(folder, layers, [task])
    assert run_job(job) == "complete", Ledger.load(Folder(job.work)).state.stages["tag/choose"].failures
    inline = json.loads((folder / "tags" / "info").read_bytes())["inline"]
    return [int(n) for n in inline["ids"]], {entry["id"]: entry for entry in inline["properties"]}


def test_columns_as_other_programs_write_them(tmp_path: Path) -> None:
    """Texts as a dictionary, as pandas writes categories, or with long offsets, as polars does."""
    rows = make_rows(60)
    kinds = pa.array(["neuron", "glia", None] * 20)
    rows = rows.append_column("class", kinds.dictionary_encode())
    rows = rows.append_column("layer", kinds.cast(pa.large_string()))
    rows = rows.append_column("odds", pa.array([np.inf, np.nan, 1e300] * 20))
    where = {"class": ["neuron", "glia"], "note": "a"}
    ids, found = tagged(tmp_path, rows, properties=["class", "layer", "odds", "class"], where=where)
    assert ids == [n for n, kind in zip(rows["id"].to_pylist(), kinds.to_pylist(), strict=True) if kind]
    assert found["tags"]["tags"] == ["glia", "neuron"]
    assert found["tags"]["values"] == [[1], [0]] * 20
    largest = float(np.finfo(np.float32).max)
    assert found["odds"]["values"] == pytest.approx([largest, 0] * 20)
    assert np.isfinite(np.array(found["odds"]["values"], np.float32)).all()


def test_a_table_without_rows_may_lack_its_columns(tmp_path: Path) -> None:
    ids, found = tagged(tmp_path, make_rows(0).select(["id"]), properties=["class"], where={"class": "glia"})
    assert ids == []
    assert found == {}


def test_a_column_of_lists_is_refused(tmp_path: Path) -> None:
    rows = make_rows(3).append_column("nuclei", pa.array([[1], [2], []]))
    with pytest.raises(AssertionError, match="cannot be shown: it holds list"):
        tagged(tmp_path, rows, properties=["nuclei"])
