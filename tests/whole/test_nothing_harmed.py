"""Nothing that is already there is harmed; what changes is refused; a part equals the whole run's part."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.events import CellDone, Event
from chunkflow.engine.run.opening import open_run
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.jobs.planned import open_plan
from tests.support.four_tasks import OFFSET, contents, job_of
from tests.support.jobs import make_layer, read_layer, read_table, run_job
from tests.support.same import all_made, assert_all_accounted, assert_same


def cells_run(job: Job, **options: Any) -> dict[str, int]:
    """Run a job, and say how many cells of each step were done just now."""
    plan, ran = open_plan(job), dict[str, int]()

    def listen(event: Event) -> None:
        if isinstance(event, CellDone):
            name = plan.stages[event.answer.stage].name
            ran[name] = ran.get(name, 0) + 1

    assert run_job(job, listeners=[listen], **options) == "complete"
    return ran


def test_inputs_are_never_touched(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    before = contents(tmp_path / "image")
    assert run_job(job) == "complete"
    assert contents(tmp_path / "image") == before


def test_running_again_changes_nothing(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    run_job(job)
    made = [
        tmp_path / "smooth",
        tmp_path / "tiles",
        tmp_path / "work" / "tables",
        tmp_path / "work" / "parts",
    ]
    before = contents(*made)
    assert cells_run(job) == {}
    assert contents(*made) == before


@pytest.mark.parametrize("place", ["smooth", "tiles"])
def test_an_output_that_is_there_is_refused_by_name_and_kept(tmp_path: Path, place: str) -> None:
    job = job_of(tmp_path)
    make_layer(tmp_path / place, np.ones((20, 20, 20), np.uint16))
    before = contents(tmp_path / place)
    with pytest.raises(BadInput, match=f"{place} exists and was not made by this job"):
        run_job(job)
    assert contents(tmp_path / place) == before


def test_the_outputs_of_another_work_folder_are_refused(tmp_path: Path) -> None:
    run_job(job_of(tmp_path))
    before = contents(tmp_path / "smooth", tmp_path / "tiles")
    with pytest.raises(BadInput, match="smooth exists"):
        run_job(job_of(tmp_path, work="other"))
    assert contents(tmp_path / "smooth", tmp_path / "tiles") == before


def test_two_names_for_one_place_are_refused(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    layers = job.layers | {"tiles": job.layers["image"]}
    with pytest.raises(BadInput, match="image lies in the same place"):
        run_job(job.model_copy(update={"layers": layers}))


def test_a_changed_parameter_is_refused_and_shown(tmp_path: Path) -> None:
    run_job(job_of(tmp_path))
    before = contents(tmp_path / "smooth", tmp_path / "tiles", tmp_path / "work")
    with pytest.raises(BadInput, match=r"tasks\.WholeTiles\.size: \[9, 13, 40\] -> \[12, 13, 40\]"):
        run_job(job_of(tmp_path, size=12))
    with pytest.raises(BadInput, match=r"chunk: \[32, 32, 32\] -> \[64, 32, 32\]"):
        run_job(job_of(tmp_path, chunk=[64, 32, 32]))
    assert contents(tmp_path / "smooth", tmp_path / "tiles", tmp_path / "work") == before


def test_restart_clears_a_task_and_those_after_it_and_no_more(tmp_path: Path) -> None:
    run_job(job_of(tmp_path))
    (tmp_path / "tiles" / "notes.txt").write_text("a person's own")
    kept = contents(tmp_path / "smooth")
    ran = cells_run(job_of(tmp_path, size=12), restart="WholeTiles")
    assert "Smooth" not in ran
    assert ran["WholeTiles"] == ran["Count"] == 12
    assert contents(tmp_path / "smooth") == kept
    assert (tmp_path / "tiles" / "notes.txt").read_text() == "a person's own"
    (tmp_path / "tiles" / "notes.txt").unlink()
    clean = job_of(tmp_path / "clean", size=12)
    assert run_job(clean) == "complete"
    assert_same(all_made(job_of(tmp_path, size=12)), all_made(clean), "restarted")
    assert contents(tmp_path / "tiles").keys() == {
        name.replace("/clean/", "/") for name in contents(tmp_path / "clean" / "tiles")
    }, "nothing of the first run is left"


def test_restart_asks_and_does_nothing_without_consent(tmp_path: Path) -> None:
    run_job(job_of(tmp_path))
    before = contents(tmp_path / "smooth", tmp_path / "tiles", tmp_path / "work")
    asked: list[str] = []
    with pytest.raises(BadInput, match="Nothing was deleted"):
        open_run(open_plan(job_of(tmp_path)), {}, "WholeTiles", lambda what: bool(asked.append(what)))
    assert "12 finished chunks" not in asked[0]
    assert "WholeTiles" in asked[0]
    assert "Smooth" not in asked[0]
    assert contents(tmp_path / "smooth", tmp_path / "tiles", tmp_path / "work") == before


def test_what_another_run_did_while_the_person_was_asked_is_not_deleted(tmp_path: Path) -> None:
    run_job(job_of(tmp_path, more=2))
    made: list[dict[str, str]] = []

    def agree(_: str) -> bool:
        run_job(job_of(tmp_path))
        made.append(contents(tmp_path / "smooth", tmp_path / "tiles"))
        return True

    with pytest.raises(BadInput, match="written by another run in the meantime"):
        open_run(open_plan(job_of(tmp_path, more=2)), {}, "WholeTiles", agree)
    assert contents(tmp_path / "smooth", tmp_path / "tiles") == made[0]
    assert Ledger.load(Folder(str(tmp_path / "work"))).state.ended == "complete"
    assert cells_run(job_of(tmp_path)) == {}


def test_a_parameter_that_changed_while_the_ledger_was_taken_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run that began and ended between the first look at the ledger and the taking of it."""
    job = job_of(tmp_path)
    take = Ledger.take

    def after_another(*given: Any, say: Callable[[str], None]) -> Ledger:
        monkeypatch.setattr(Ledger, "take", take)
        run_job(job_of(tmp_path, size=12))
        return take(*given, say=say)

    monkeypatch.setattr(Ledger, "take", after_another)
    with pytest.raises(BadInput, match=r"tasks\.WholeTiles\.size: \[12, 13, 40\] -> \[9, 13, 40\]"):
        run_job(job)
    assert Ledger.load(Folder(str(tmp_path / "work"))).state.ended == "complete"


def test_a_default_that_is_typed_is_no_change_and_another_default_is(tmp_path: Path) -> None:
    run_job(job_of(tmp_path, more=1))
    job = job_of(tmp_path, more=1)
    (smooth,) = job.tasks

    def with_radius(radius: int) -> Job:
        parameters = {**smooth.parameters, "radius": radius}
        return job.model_copy(update={"tasks": [smooth.model_copy(update={"parameters": parameters})]})

    assert cells_run(with_radius(2)) == {}
    with pytest.raises(BadInput, match=r"tasks\.Smooth\.radius: 2 -> 3"):
        run_job(with_radius(3))
    document = json.loads((tmp_path / "smooth" / "provenance").read_text())
    assert document["processing"][0]["method"]["parameters"]["radius"] == 2


def test_restart_with_another_chunk_size_leaves_nothing_of_the_old(tmp_path: Path) -> None:
    run_job(job_of(tmp_path))
    keys: dict[str, Any] = {"chunk": [40, 32, 40], "storage": [20, 32, 20]}
    job = job_of(tmp_path, **keys)
    assert run_job(job, restart="Smooth") == "complete"
    assert_all_accounted(job)
    clean = job_of(tmp_path / "clean", **keys)
    run_job(clean)
    for name in ("smooth", "tiles", "work/parts", "work/tables"):
        files = {str(f.relative_to(tmp_path)) for f in (tmp_path / name).rglob("*") if f.is_file()}
        wanted = {
            str(f.relative_to(tmp_path / "clean"))
            for f in (tmp_path / "clean" / name).rglob("*")
            if f.is_file()
        }
        assert files == wanted, name


def test_a_task_added_at_the_end_is_run_alone(tmp_path: Path) -> None:
    run_job(job_of(tmp_path, more=2))
    before = contents(tmp_path / "smooth")
    ran = cells_run(job_of(tmp_path))
    assert {name.split(".")[0] for name in ran} == {"Count", "Blocks"}
    after = contents(tmp_path / "smooth")
    assert after == before


@pytest.mark.parametrize("box", [Box((30, 5, 10), (61, 40, 33)), Box((10, -7, 3), (15, -2, 5))])
def test_a_part_has_the_voxels_of_the_whole_run(tmp_path: Path, box: Box) -> None:
    job = job_of(tmp_path)
    assert run_job(job, box=box) == "complete"
    work = tmp_path / "work" / "try" / str(box)
    assert not (tmp_path / "smooth").exists()
    part = all_made_in(work)
    part_rows = read_table(work / "tables" / "objects")
    before = contents(work)
    assert run_job(job) == "complete"
    assert contents(work) == before
    for name, found in part.items():
        whole = read_layer(tmp_path / name)[box.slices(OFFSET)]
        np.testing.assert_array_equal(found(box), whole, err_msg=name)
    rows = {row["id"]: row for row in read_table(tmp_path / "work" / "tables" / "objects").to_pylist()}
    whole_tiles = read_layer(tmp_path / "tiles")
    inside = set(np.unique(whole_tiles[box.slices(OFFSET)]).tolist()) - {0}
    assert inside <= set(part_rows["id"].to_pylist())
    assert bool(pc.any(part_rows["cut"]).as_py()) == bool(inside), "no tile is smaller than its box"
    for row in part_rows.to_pylist():
        if not row["cut"]:
            assert row == rows[row["id"]]
        else:
            assert row["voxels"] < rows[row["id"]]["voxels"]


def all_made_in(work: Path) -> dict[str, Any]:
    """For each layer under a part's work folder, a function that reads one of its boxes."""
    from cloudvolume import CloudVolume

    def reader(path: Path) -> Any:
        volume = CloudVolume(f"file://{path}", progress=False)
        return lambda box: np.asarray(volume[box.slices((0, 0, 0))])[..., 0]

    return {name: reader(work / "layers" / name) for name in ("smooth", "tiles")}
