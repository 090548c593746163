"""What was decided as layers: a table that jobs read, and annotations that Neuroglancer shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import chunkflow as cf
from chunkflow.errors import BadInput
from tests.support.files.classifiers import saved_model
from tests.support.jobs import make_job, run_job
from tests.support.people.reviews import decide, job_to_review

ADDED = str(2**62 + 9)
SHAPE = {"kind": "point", "points": [[3.5, 4.5, 5.5]]}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job of which one object was called dust, one rejected, one moved, one deleted and one added."""
    work = job_to_review(tmp_path_factory.mktemp("job"))
    ids = sorted(str(id) for id in cf.open(work).table("classified").to_arrow()["id"].to_pylist())
    edits: list[dict[str, Any]] = [
        {"operation": "class", "object": ids[0], "class": "dust"},
        {"operation": "reject", "object": ids[1]},
        {"operation": "move", "object": ids[2], "shape": SHAPE},
        {"operation": "delete", "object": ids[3]},
        {"operation": "add", "object": ADDED, "shape": SHAPE, "class": "glia"},
    ]
    decide(work, *edits)
    return work


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a layer, which may name the place that they lie in."""
    place = str(folder).encode()
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes().replace(place, b"HERE") for path in files}


@pytest.mark.parametrize("form", ["table", "annotations"])
def test_the_same_number_makes_the_same_layer(work: str, tmp_path: Path, form: str) -> None:
    made = cf.export_review(work, tmp_path / "one", form=form, edit=5)
    assert repr(made) == f"{tmp_path}/one has 100 rows of classified, as of edit 5."
    decide(
        work, {"operation": "note", "object": ADDED, "note": "?"}, {"operation": "reject", "object": ADDED}
    )
    cf.export_review(work, tmp_path / "two", form=form, edit=5)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    cf.export_review(work, tmp_path / "three", form=form)
    assert files_of(tmp_path / "one") != files_of(tmp_path / "three")
    for options, said in (({}, "exists already"), ({"overwrite": True}, "A layer is never replaced")):
        with pytest.raises(BadInput, match=said):
            cf.export_review(work, tmp_path / "one", form=form, **options)


def test_a_table_layer_has_the_rows_of_the_file(work: str, tmp_path: Path) -> None:
    cf.export_review(work, tmp_path / "table", form="table")
    cf.export_review(work, tmp_path / "file.parquet")
    cf.export(tmp_path / "table", tmp_path / "again.parquet")
    again = pq.read_table(tmp_path / "again.parquet")
    assert again.equals(pq.read_table(tmp_path / "file.parquet").sort_by("id"))
    assert cf.evaluate(tmp_path / "table", tmp_path / "table", tolerance_um=1, of_class="dust").f1 == 1


def test_a_job_reads_the_table_layer(work: str, tmp_path: Path) -> None:
    cf.export_review(work, tmp_path / "table", form="table")
    layers = {"reviewed": str(tmp_path / "table")}
    task = {"objects": "reviewed", "model": str(saved_model(tmp_path)), "classes": "classified"}
    job = make_job(tmp_path, layers, [{"classify": task}], storage=[32, 32, 16], chunk=[64, 64, 32])
    assert run_job(job) == "complete"
    rows = cf.open(job.work).table("classified").to_arrow().to_pylist()
    assert len(rows) == 100
    assert {row["id"] for row in rows if row["class"] is None} == {int(ADDED)}  # nothing was measured of it


def test_annotations_have_class_and_status(work: str, tmp_path: Path) -> None:
    cf.export_review(work, tmp_path / "points", form="annotations")
    info = json.loads((tmp_path / "points" / "info").read_text())
    assert [one["id"] for one in info["properties"]] == ["class", "status"]
    cf.export(tmp_path / "points", tmp_path / "points.parquet")
    cf.export_review(work, tmp_path / "file.parquet")
    shown = pq.read_table(tmp_path / "points.parquet").sort_by("id").select(["id", "class", "status"])
    rows = pq.read_table(tmp_path / "file.parquet").sort_by("id").select(["id", "class", "status"])
    assert shown.to_pylist() == rows.to_pylist()
