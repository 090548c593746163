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
from chunkflow.engine.run.events import CellDone, Event
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


def test_a_ledger_that_lost_its_job_is_refused(folder: Path) -> None:
    for path in (folder / "work" / "ledger").glob("*.json"):
        empty(path)
    with pytest.raises(cf.DamagedInput, match=r"The record of the job in .* is lost: .*01\.json is empty"):
        cf.check(folder / "work")
