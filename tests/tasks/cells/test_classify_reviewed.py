"""What people decided stays: `classify` with a file of a review, however the table is cut."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import chunkflow as cf
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Vec
from chunkflow.people.review.decisions import Decisions
from tests.support.files.classifiers import saved_model
from tests.support.jobs import make_job, read_table, run_job
from tests.support.people.reviews import decide
from tests.support.same import Way, same_everywhere
from tests.tasks.cells.test_classify import classify_job

WHOLE = (64, 64, 64)
PLACE = {"kind": "point", "points": [[3.5, 4.5, 5.5]]}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job whose classes were reviewed: 9 called neuron or dust, 9 rejected, 1 moved, 1 added, 2 deleted."""
    folder = tmp_path_factory.mktemp("reviewed")
    job = classify_job(folder / "job", saved_model(folder), WHOLE)
    assert run_job(job) == "complete"
    ids = ids_of(job)
    edits: list[dict[str, Any]] = []
    for number, id in enumerate(ids[:9]):
        edits.append({"operation": "class", "object": str(id), "class": ("neuron", "dust")[number % 2]})
    edits += [{"operation": "reject", "object": str(id)} for id in ids[9:18]]
    edits += [{"operation": "move", "object": str(ids[0]), "shape": PLACE}]
    edits += [{"operation": "add", "object": str(2**62), "shape": PLACE, "class": "glia"}]
    edits += [{"operation": "delete", "object": str(id)} for id in ids[18:20]]
    edits += [{"operation": "note", "object": str(ids[20]), "note": "?"}]
    decide(place_of(job), *edits)
    return job


def place_of(job: Job) -> str:
    return job.work.removeprefix("file://")


def ids_of(job: Job) -> list[int]:
    ids: list[int] = read_table(f"{place_of(job)}/tables/classes")["id"].to_pylist()
    return ids


def with_review(job: Job, reviewed: Path) -> Job:
    """The job whose classes keep to a file of a review."""
    first, second = job.tasks
    parameters = {**second.parameters, "reviewed": str(reviewed)}
    return job.model_copy(update={"tasks": [first, second.model_copy(update={"parameters": parameters})]})


def reviewed_job(folder: Path, model: Path, reviewed: Path, chunk: Vec) -> Job:
    return with_review(classify_job(folder, model, chunk), reviewed)


def exported(job: Job, to: Path, deleted: bool = True) -> Path:
    return cf.export_review(place_of(job), to, deleted=deleted).path


def test_what_people_decided_stays_however_it_is_cut(job: Job, tmp_path: Path) -> None:
    model, file = Path(job.tasks[1].parameters["model"]), exported(job, tmp_path / "reviewed.csv")
    ways = [Way((32, 32, 32)), Way((64, 32, 32), shuffled=True)]
    same_everywhere(
        tmp_path, lambda folder, chunk: reviewed_job(folder, model, file, chunk), (64, 64, 64), ways
    )
    before = read_table(f"{place_of(job)}/tables/classes")
    made = read_table(tmp_path / "whole" / "work" / "tables" / "classes")
    ids = before["id"].to_pylist()
    assert made["id"].to_pylist() == [*ids[:18], *ids[20:]]
    assert made["class"].to_pylist()[:18] == ["neuron", "dust"] * 4 + ["neuron"] + ["rejected"] * 9
    assert made["class"].to_pylist()[18:] == before["class"].to_pylist()[20:]
    assert made["probability"].to_pylist() == [1.0] * 18 + before["probability"].to_pylist()[20:]
    assert made["p_glia"].to_pylist()[:18] == before["p_glia"].to_pylist()[:18]
    assert made["status"].to_pylist() == ["accepted"] * 9 + ["rejected"] * 9 + ["undecided"] * (len(ids) - 20)
    assert made["x"].to_pylist()[0] == before["x"].to_pylist()[0]


def test_every_kind_of_file_says_the_same(job: Job, tmp_path: Path) -> None:
    info = cf.open(place_of(job)).table("classes").info
    rows = read_table(info.url)
    made = []
    for ending in ("csv", "parquet", "json", "h5"):  # in HDF5 an added point cannot lack what was measured
        file = cf.export_review(place_of(job), tmp_path / f"reviewed.{ending}", edit=18).path
        made.append(Decisions.read(str(file), info).apply(rows))
    assert all(table.equals(made[0][0]) and decided == 18 for table, decided in made)


def test_the_run_counts_what_people_decided(job: Job, tmp_path: Path) -> None:
    file = exported(job, tmp_path / "reviewed.csv", deleted=False)
    again = reviewed_job(tmp_path / "a", Path(job.tasks[1].parameters["model"]), file, (32, 32, 32))
    assert run_job(again) == "complete"
    made = read_table(tmp_path / "a" / "work" / "tables" / "classes")["class"].to_pylist()
    assert len(made) == len(ids_of(job))  # a file without the deleted ones does not tell of them
    state = Ledger.load(Folder(again.work)).state
    counts = {f"of class {name}": made.count(name) for name in {*made}}
    assert state.stages["classify"].counts == counts | {
        "decided by people": 18,
        "without a class, as a feature is missing": 0,
    }


def test_another_file_is_refused_until_the_task_is_cleared(job: Job, tmp_path: Path) -> None:
    file = exported(job, tmp_path / "reviewed.csv")
    again = reviewed_job(tmp_path / "a", Path(job.tasks[1].parameters["model"]), file, WHOLE)
    assert run_job(again) == "complete"
    file.write_text(file.read_text().replace('"dust"', '"vessel"'))
    with pytest.raises(BadInput, match=r"classify was made with another reviewed \(reviewed.csv has changed"):
        run_job(again)
    assert run_job(again, restart="classify") == "complete"
    assert "vessel" in read_table(tmp_path / "a" / "work" / "tables" / "classes")["class"].to_pylist()


def rewritten(file: Path, to: Path, **changes: Any) -> Path:
    """A file with other columns: None leaves one out, a text is the value of all rows."""
    rows = list(csv.DictReader(file.open()))
    for row in rows:
        for name, value in changes.items():
            if value is None:
                del row[name]
            else:
                row[name] = value
    with to.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return to


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"status": None},
            "has no column status; reviewed takes a file that `chunkflow review export` wrote",
        ),
        ({"class": None}, "has no column class"),
        ({"status": "good"}, "has the status 'good': it must be one of undecided, accepted, rejected, added"),
        ({"id": "7"}, "has the object 7 more than once"),
    ],
)
def test_what_is_no_review_is_refused(job: Job, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    file = rewritten(exported(job, tmp_path / "reviewed.csv"), tmp_path / "other.csv", **changes)
    with pytest.raises(BadInput, match=said):
        Decisions.read(str(file), cf.open(place_of(job)).table("classes").info)


def test_it_is_refused_before_anything_is_written(job: Job, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none.csv cannot be read: No such file"):
        run_job(
            reviewed_job(tmp_path / "a", Path(job.tasks[1].parameters["model"]), tmp_path / "none.csv", WHOLE)
        )
    assert not (tmp_path / "a" / "work").exists()


def test_a_file_of_another_table_is_refused(job: Job, tmp_path: Path) -> None:
    file = exported(job, tmp_path / "reviewed.csv")
    lines = file.read_text().splitlines()
    others = [lines[0], *(f"{10**9 + n}{line[line.index(',') :]}" for n, line in enumerate(lines[1:]))]
    (tmp_path / "other.csv").write_text("\n".join(others) + "\n")
    objects = f"{place_of(job)}/tables/objects"
    step = {"objects": "objects", "model": job.tasks[1].parameters["model"], "classes": "again"}
    step["reviewed"] = str(tmp_path / "other.csv")
    with pytest.raises(BadInput, match=r"other.csv has none of the 280 objects of the table objects"):
        run_job(make_job(tmp_path / "b", {"objects": objects}, [{"classify": step}]))
    assert not (tmp_path / "b").exists()
    step["reviewed"] = str(file)
    assert run_job(make_job(tmp_path / "b", {"objects": objects}, [{"classify": step}])) == "complete"
    again = with_review(job, tmp_path / "other.csv")
    before = read_table(f"{place_of(job)}/tables/classes")
    with pytest.raises(BadInput, match="has none of the 280 objects"):
        run_job(again, restart="classify")  # of the table that the job made earlier
    assert read_table(f"{place_of(job)}/tables/classes").equals(before)


def test_an_accepted_object_without_a_class_is_of_the_class_accepted(tmp_path: Path) -> None:
    (tmp_path / "reviewed.csv").write_text('id,class,status\n1,"",accepted\n2,"",\n3,"glia",added\n')
    info = cf.TableInfo(volume=cf.Box((0, 0, 0), (8, 8, 8)), voxel_size=(1, 1, 1))
    columns = {"class": [None, "x", "x", "x"], "probability": pa.array([None, 0.5, 0.5, 0.5], pa.float32())}
    rows = pa.table({"id": pa.array([1, 2, 3, 4], pa.uint64()), **columns, "status": ["old"] * 4})
    made, decided = Decisions.read(str(tmp_path / "reviewed.csv"), info).apply(rows)
    assert made["class"].to_pylist() == ["accepted", "x", "glia", "x"]
    assert made["probability"].to_pylist() == [1.0, 0.5, 1.0, 0.5]
    assert made["status"].to_pylist() == ["accepted", "undecided", "added", "undecided"]
    assert decided == 2
