"""What was decided, back in the pipeline: as a file, and as labels that a classifier learns from."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import chunkflow as cf
from chunkflow.data.tables import table_file
from chunkflow.errors import BadInput
from chunkflow.people.review.objects import TableObjects
from chunkflow.people.service.local.reviewer import review
from tests.support.people.reviews import asked, job_to_review, sent

ADDED = str(2**62 + 9)
SHAPE = {"kind": "point", "points": [[3.5, 4.5, 5.5]]}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job with a review: objects by turns called glia and neuron, ten rejected, one added, one deleted."""
    work = job_to_review(tmp_path_factory.mktemp("job"))
    with pytest.raises(BadInput, match="nobody has reviewed anything here yet"):
        cf.check_review(work)
    with review(work, person="ann") as page:
        ids = [str(id) for id in page._live.objects.ids.tolist()]
        assert len(ids) > 40
        for number, id in enumerate(ids[:30]):
            sent(
                page,
                key=f"k{number}",
                operation="class",
                object=id,
                **{"class": ("glia", "neuron")[number % 2]},
            )
        for number, id in enumerate(ids[30:40]):
            sent(page, key=f"r{number}", operation="reject", object=id)
        assert sent(page, key="a", operation="add", object=ADDED, shape=SHAPE, **{"class": "glia"})[0] == 200
        assert sent(page, key="m", operation="move", object=ids[0], seen=1, shape=SHAPE)[0] == 200
        assert sent(page, key="d", operation="delete", object=ids[1], seen=2)[0] == 200
        assert asked(page, "table")["counts"] == {
            "objects": len(ids),
            "accepted": 30,
            "rejected": 10,
            "added": 1,
            "deleted": 1,
        }
    return work


def test_a_file_has_what_was_decided(work: str, tmp_path: Path) -> None:
    made = cf.export_review(work, tmp_path / "reviewed.csv")
    table = cf.open(work).table("classified").to_arrow().sort_by("id")
    assert (made.edit, made.rows, made.name) == (43, len(table), "classified")
    assert repr(made).endswith(f"has {len(table)} rows of classified, as of edit 43.")
    rows = {row["id"]: row for row in csv.DictReader((tmp_path / "reviewed.csv").open())}
    ids = [str(id) for id in table["id"].to_pylist()]
    assert rows.keys() == {*ids, ADDED} - {ids[1]}
    assert [float(rows[ids[0]][name]) for name in ("x", "y", "z", "x_um", "z_um")] == [
        3.5,
        4.5,
        5.5,
        3.5,
        11.0,
    ]
    assert (rows[ids[0]]["class"], rows[ids[0]]["status"], rows[ids[0]]["decided_by"]) == (
        "glia",
        "accepted",
        "ann",
    )
    assert rows[ids[35]]["status"] == "rejected"
    assert (rows[ids[-1]]["status"], rows[ids[-1]]["decided_by"]) == ("undecided", "")
    assert rows[ids[-1]]["class"] == table["class"].to_pylist()[-1]
    assert (rows[ADDED]["status"], rows[ADDED]["class"], rows[ADDED]["volume_um3"]) == ("added", "glia", "")


def test_the_same_number_gives_the_same_file_later(work: str, tmp_path: Path) -> None:
    first = cf.export_review(work, tmp_path / "one.parquet", edit=10)
    with review(work, person="bo") as page:
        found = asked(page, "next?query=undecided")["object"]
        sent(page, key="later", operation="reject", object=found["id"])
    again = cf.export_review(work, tmp_path / "two.parquet", edit=10)
    assert first.edit == again.edit == 10
    one, two = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    assert one.equals(two)
    assert one["status"].to_pylist().count("accepted") == 10
    with pytest.raises(BadInput, match="There is no edit 99: the last one is 44"):
        cf.export_review(work, tmp_path / "three.csv", edit=99)
    assert cf.check_review(work).faults == ()


def test_a_classifier_learns_from_it(work: str, tmp_path: Path) -> None:
    trained = cf.train(
        [f"{work}:classified"], labels=[work], to=tmp_path / "cells.skops", features=["dapi_*"]
    )
    assert trained.counts["rejected"] in (10, 11)
    assert (trained.counts["glia"], trained.counts["neuron"]) == (15, 14)


def test_nothing_decided_is_no_label(tmp_path: Path) -> None:
    work = job_to_review(tmp_path)
    with review(work) as page:
        found = asked(page, "next?query=undecided")["object"]
        sent(page, key="a", operation="note", object=found["id"], note="?")
    with pytest.raises(BadInput, match="Nobody has decided on an object"):
        cf.train([f"{work}:classified"], labels=[work], to=tmp_path / "new.skops")
    assert not (tmp_path / "new.skops").exists()


def test_a_table_that_was_made_anew_is_read_anew(work: str, tmp_path: Path) -> None:
    info = cf.open(work).table("classified").info
    place = tmp_path / "table"
    shutil.copytree(info.url.removeprefix("file://"), place)
    copied = info.model_copy(update={"url": f"file://{place}"})
    before = TableObjects.read(copied)
    (file,) = [place / table_file(int(before.file[0]))]
    assert before.row(0)["volume"] > 0
    rows = pq.read_table(file)
    at = rows.column_names.index("volume")
    pq.write_table(rows.set_column(at, "volume", pa.array([0] * len(rows), rows["volume"].type)), file)
    assert TableObjects.read(copied).row(0)["volume"] == 0
    pq.write_table(rows.slice(len(rows)), file)
    with pytest.raises(BadInput, match="was made anew while it was reviewed"):
        dataclasses.replace(before).row(0)


def test_tables_without_places_are_refused(work: str) -> None:
    with pytest.raises(BadInput, match="has no table nothing"):
        review(f"{work}:nothing")
    with pytest.raises(BadInput, match="is not a work folder"):
        review(Path(work).parent)


def test_an_object_that_was_deleted_and_added_again_has_one_row(work: str, tmp_path: Path) -> None:
    log = tmp_path / "again.sqlite"
    with review(work, database=log, person="ann") as page:
        id = str(page._live.objects.ids[3])
        assert sent(page, key="d", operation="delete", object=id)[0] == 200
        assert sent(page, key="a", operation="add", object=id, shape=SHAPE, seen=1)[0] == 200
        assert sent(page, key="n", operation="add", object=ADDED, shape=SHAPE)[0] == 200
    assert cf.check_review(work, database=log).faults == ()
    cf.export_review(work, tmp_path / "again.csv", database=log)
    rows = list(csv.DictReader((tmp_path / "again.csv").open()))
    (row,) = (row for row in rows if row["id"] == id)
    assert (row["status"], row["x"], float(row["volume_um3"]) > 0) == ("added", "3.5", True)
    assert [row["id"] for row in rows].count(ADDED) == 1
