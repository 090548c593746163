"""Decisions carried over to a table that its job has made anew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkflow as cf
from chunkflow.errors import BadInput
from chunkflow.people.review.incoming.older import OlderReview
from chunkflow.people.review.objects import TableObjects
from chunkflow.people.review.reviewing import ReviewPlace, open_log
from chunkflow.people.service.local.reviewer import review
from tests.support.people.reviews import decide, job_to_review

ADDED = str(2**62 + 9)
NOWHERE = {"kind": "point", "points": [[0.5, 0.5, 0.5]]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TableObjects]:
    """A job whose table was reviewed and then made anew with another diameter; and the objects of before."""
    folder = tmp_path_factory.mktemp("job")
    work = job_to_review(folder)
    objects = TableObjects.read(ReviewPlace.find(work).info)
    ids = [str(id) for id in objects.ids.tolist()]
    decide(work, *({"operation": "class", "object": id, "class": "glia"} for id in ids[0::4]), person="ann")
    decide(work, *({"operation": "reject", "object": id} for id in ids[1::4]), person="bo")
    decide(work, *({"operation": "note", "object": id, "note": id} for id in ids[0::8]), person="bo")
    edits: list[dict[str, Any]] = [
        {"operation": "delete", "object": ids[2]},
        {"operation": "add", "object": ADDED, "shape": NOWHERE, "class": "dust"},
        {"operation": "note", "object": ADDED, "note": "faint"},
    ]
    decide(work, *edits, person="ann")
    cf.export_review(work, folder / "older.csv")
    job_to_review(folder, diameter=13, restart="segment")
    return folder, objects


@pytest.fixture
def work(made: tuple[Path, TableObjects], tmp_path: Path) -> tuple[str, str]:
    """The job's work folder, and a copy of the log."""
    folder, _ = made
    shutil.copy(folder / "work" / "review.sqlite", tmp_path / "review.sqlite")
    return str(folder / "work"), str(tmp_path / "review.sqlite")


def test_decisions_go_to_the_objects_that_lie_there(
    work: tuple[str, str], made: tuple[Path, TableObjects]
) -> None:
    place, database = work
    before, now = made[1], TableObjects.read(ReviewPlace.find(place).info)
    assert before.generation != now.generation
    assert {*before.ids.tolist()} != {*now.ids.tolist()}
    with review(place, database=database) as page:
        assert page.older == (
            f"classified was made anew since {len(before.ids[0::4]) + len(before.ids[1::4]) + 2} objects of "
            "it were reviewed: `chunkflow review carry` takes the decisions over."
        )
    trial = cf.carry_review(place, database=database, dry_run=True)
    carried = cf.carry_review(place, database=database)
    assert (trial.counts, trial.written, carried.written) == (carried.counts, False, True)
    assert carried.conflicts == ()
    log = open_log(database)
    current = log.current(2)
    people = {edit.operation: edit.person for edit in log.edits(2)}
    assert people == {"class": "ann", "reject": "bo", "note": "ann", "delete": "ann", "add": "ann"}
    notes = {edit.object: edit for edit in log.edits(2) if edit.operation == "note"}
    assert {edit.person for id, edit in notes.items() if str(id) != ADDED} == {"bo"}
    other = 0
    for id, edit in notes.items():  # which tell the object of before
        number = now.number(id)
        if number is None:
            assert (str(id), edit.after["note"]) == (ADDED, "faint")
            continue
        then = before.places[before.number(int(edit.after["note"])) or 0]
        assert np.linalg.norm((now.places[number] - then) * np.array(now.info.voxel_size)) < 12_000
        assert current[id].state.of_class == "glia"
        other += int(edit.after["note"]) != id
    assert other > 0
    assert current[int(ADDED)].state.added
    assert carried.counts["classes"] + carried.counts["rejected"] + carried.counts["unplaced"] > 40
    assert log.check() == []
    last = log.last()
    again = cf.carry_review(place, database=database)
    assert (log.last(), again.counts["classes"], again.conflicts) == (last, 0, ())
    log.close()
    with review(place, database=database) as page:
        assert page.older == ""


def test_what_is_said_of_the_new_table_stays(work: tuple[str, str]) -> None:
    place, database = work
    log = open_log(database)
    whole = cf.carry_review(place, database=database, dry_run=True)
    first = next(id for id, held in log.current(1).items() if held.state.status == "rejected")
    now = TableObjects.read(ReviewPlace.find(place).info)
    for id in now.ids.tolist():
        decide(
            place, {"operation": "class", "object": str(id), "class": "dust"}, person="cy", database=database
        )
    carried = cf.carry_review(place, database=database)
    assert carried.counts["classes"] == carried.counts["rejected"] == carried.counts["deleted"] == 0
    assert len(carried.conflicts) > 20
    assert "was changed since by cy (class, edit" in carried.conflicts[0]
    assert (carried.counts["added"], carried.unplaced) == (1, whole.unplaced)
    assert log.current(1)[first].state.status == "rejected"
    log.close()


def test_places_come_from_a_file_where_ids_name_no_voxels(
    work: tuple[str, str], made: tuple[Path, TableObjects]
) -> None:
    place, database = work
    info = ReviewPlace.find(place).info.model_copy(update={"connected": False})
    log = open_log(database)
    now = TableObjects.read(info)
    older = OlderReview.of(log, ReviewPlace.find(place).work.url, "classified", now.generation)
    log.close()
    assert older is not None
    with pytest.raises(BadInput, match="do not say where objects were before it was made anew"):
        older.places(info, None)
    named = older.places(info.model_copy(update={"connected": True}), None)
    assert (len(named), named[int(ADDED)]) == (len(older.current), (0.5, 0.5, 0.5))
    found = older.places(info, made[0] / "older.csv")
    before = made[1]
    for id, spot in found.items():
        number = before.number(id)
        assert number is None or np.allclose(before.places[number], spot)
    assert len(found) >= len(older.current) - 1  # the file lacks the one that was deleted


def test_nothing_within_reach_is_told(work: tuple[str, str]) -> None:
    place, database = work
    usual = cf.carry_review(place, database=database, dry_run=True)
    near = cf.carry_review(place, database=database, distance_um=0.01, dry_run=True)
    assert len(near.unplaced) > len(usual.unplaced)
    with pytest.raises(BadInput, match="distance_um is 0: it must be more than 0"):
        cf.carry_review(place, database=database, distance_um=0)
