"""What is missing or damaged of a job is named, made again by its own chunks, and blocks nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import chunkflow as cf
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.events import CellDone, Event
from chunkflow.jobs.budget import OVER_BUDGET
from tests.support.files.damage import DAMAGES, Damage, cut_short, empty
from tests.support.four_tasks import job_of
from tests.support.jobs import run_job
from tests.support.same import all_made, assert_same


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished job with voxels, parts, decided values, tables and files, and what it made."""
    folder = tmp_path_factory.mktemp("finished")
    job = job_of(folder / "job")
    assert run_job(job) == "complete"
    shutil.copytree(folder / "job", folder / "kept")
    return folder / "job", all_made(job)


@pytest.fixture
def folder(finished: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Its folder, in which anything may be damaged."""
    folder = finished[0]
    monkeypatch.chdir(folder)  # else all that the tests import is read as the job's own
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("kept"), folder)


FILES = {
    "a part": "work/parts/Count/0000/3.arrow",
    "what was decided": "work/parts/*prepare.json",
    "a merged part": "work/parts/Count.merge*/0000/0.arrow",
    "a table": "work/tables/objects/000000.parquet",
    "a file of a mesh": "tiles/mesh/*:*",
    "a storage chunk": "tiles/1000*/*",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("what", FILES)
def test_it_is_named_and_made_again_by_its_chunk(
    folder: Path, finished: tuple[Path, dict[str, Any]], what: str, damage: Damage
) -> None:
    path = sorted(folder.glob(FILES[what]))[-1]
    job = job_of(folder)
    assert not cf.check(job.work, deep=True).faults
    damage(path)
    found = cf.check(job.work, deep=True)
    assert len({(fault.task, fault.index) for fault in found.faults}) == 1
    assert str(path) in repr(found) or str(path.parent.parent) in repr(found)
    assert cf.check(job.work, deep=True, repair=True).repaired == 1
    assert cf.open(job.work).status().ended == "incomplete"
    events: list[Event] = []
    assert run_job(job, listeners=[events.append]) == "complete"
    assert [fault.index for fault in found.faults[:1]] == [
        event.answer.index for event in events if isinstance(event, CellDone)
    ]
    assert not cf.check(job.work, deep=True).faults
    assert_same(all_made(job), finished[1], what)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_task_is_restarted_whatever_of_it_is_damaged(
    folder: Path, finished: tuple[Path, dict[str, Any]], damage: Damage
) -> None:
    job = job_of(folder)
    for pattern in (*FILES.values(), "smooth/info", "tiles/info", "tiles/mesh/info"):
        damage(sorted(folder.glob(pattern))[-1])
    assert run_job(job, restart=job.tasks[0].name) == "complete"
    assert not cf.check(job.work, deep=True).faults
    assert_same(all_made(job), finished[1], "restarted")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_description_is_written_anew(folder: Path, damage: Damage) -> None:
    job = job_of(folder)
    damage(folder / "tiles" / "info")
    (fault,) = cf.check(job.work).faults
    assert f"{folder}/tiles/info" in fault.said
    assert run_job(job) == "complete"
    assert not cf.check(job.work, deep=True).faults


@pytest.mark.parametrize("what", ["a part", "a storage chunk"])
def test_what_failed_by_damage_is_mended_by_the_next_run(
    folder: Path, finished: tuple[Path, dict[str, Any]], what: str
) -> None:
    job = job_of(folder)
    cut_short(sorted(folder.glob(FILES[what]))[-1])
    with Ledger.load(Folder(job.work)).take() as ledger:
        for stage in ("Count", "Count.merge1"):
            if not (stage == "Count" and what == "a part"):
                ledger.record_undone(stage, range(ledger.stages[stage].cells))
    assert run_job(job) == "incomplete"
    assert {failure.outcome.partition(",")[0] for failure in cf.open(job.work).status().failures} == {
        "damaged input"
    }
    assert run_job(job) == "complete"
    assert_same(all_made(job), finished[1], what)


def let_end(job: Job, ended: str | None) -> None:
    """Let the last run of a job have ended so; None for one that was killed."""
    with Ledger.load(Folder(job.work)).take() as ledger:
        if ended is not None:
            ledger.record_ended(ended)


@pytest.mark.parametrize("ended", ["complete", "interrupted", OVER_BUDGET, None])
def test_how_the_last_run_ended_stays_on_record(
    folder: Path, ended: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(folder)
    let_end(job, ended)
    assert cf.check(job.work, repair=True).repaired == 0
    assert cf.open(job.work).status().ended == (ended or "interrupted")
    with monkeypatch.context() as patch:
        patch.setattr("chunkflow.engine.run.checking.documents_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cf.check(job.work, repair=True)
    assert cf.open(job.work).status().ended == (ended or "interrupted")
    sorted(folder.glob(FILES["a part"]))[-1].unlink()
    assert cf.check(job.work, repair=True).repaired == 1
    after = cf.open(job.work).status()
    assert after.ended == ("incomplete" if ended == "complete" else ended or "interrupted")
    assert "waiting" in after.head
    if ended == "complete":
        with pytest.raises(cf.Incomplete, match=f"is incomplete: 1 chunk to be done again: .* {folder}/work"):
            after.complete(job.work)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_it_is_said_that_another_run_is_waited_for(folder: Path) -> None:
    job, said = job_of(folder), list[str]()
    with Ledger.load(Folder(job.work)).take(0.2), pytest.raises(cf.BadInput, match="is held by"):
        cf.check(job.work, repair=True, say=said.append)
    assert [sentence.rpartition(": ")[2] for sentence in said] == ["waiting up to 1 s for a sign of life."]


def test_what_another_run_did_meanwhile_is_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check waits for the ledger, which another run may have had until then."""
    job, take = job_of(folder), Ledger.take

    def late(self: Ledger, *given: Any, **named: Any) -> Ledger:
        monkeypatch.setattr(Ledger, "take", take)
        with Ledger.load(Folder(job.work)).take() as other:
            other.record_undone("Count", [0, 1])
            other.record_ended("interrupted")
        return take(self, *given, **named)

    before = cf.check(job.work).chunks
    monkeypatch.setattr(Ledger, "take", late)
    checked = cf.check(job.work, repair=True)
    assert (checked.chunks, checked.repaired) == (before - 2, 0)
    assert cf.open(job.work).status().ended == "interrupted"


def test_chunks_of_which_a_ledger_has_lost_the_record_are_done_again(folder: Path) -> None:
    """As where a damaged segment told of them, and a later one of the end."""
    job = job_of(folder)
    with Ledger.load(Folder(job.work)).take() as ledger:
        ledger.record_undone("Count", [0, 1])
        ledger.record_ended("complete")
    assert cf.check(job.work, repair=True).repaired == 2
    assert cf.open(job.work).status().ended == "incomplete"
    assert run_job(job) == "complete"


def test_a_ledger_that_lost_its_job_is_refused(folder: Path) -> None:
    for path in (folder / "work" / "ledger").glob("*.json"):
        empty(path)
    with pytest.raises(
        cf.DamagedInput, match=r"The record of the job in .* is lost: .*01\.json is empty"
    ) as told:
        cf.check(folder / "work")
    assert "another work folder, and name other places for what it makes" in str(told.value)
