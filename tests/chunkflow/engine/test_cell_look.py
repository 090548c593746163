"""What a check looks at, and what it takes for a fault: files of folders, layers and descriptions."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pytest

import chunkflow as cf
from chunkflow.chunk import Chunk
from chunkflow.data.checksums import digest_of, seal, unseal
from chunkflow.data.folder import Folder
from chunkflow.data.volume import Volume
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.checking import faults_behind, faults_of
from chunkflow.engine.run.outputs import names_of
from chunkflow.engine.worker.parts import Parts
from chunkflow.errors import StorageError
from chunkflow.jobs.planned import open_plan
from chunkflow.task import Cell, Image, Out, Report, Result, Task
from tests.support.files.damage import cut_short, flip
from tests.support.four_tasks import job_of
from tests.support.jobs import make_job, run_job


class Told(Task):
    """A copy of an image, and two reports whose files have the same names."""

    image: Image
    copy_: Image = Out()
    first: Report = Out()
    second: Report = Out()

    def map(self, cell: Cell, image: Chunk) -> Result:
        one, other = ("first", "second") if cell.index % 2 else ("second", "first")
        same = {f"{cell.index}.csv": b"same"}
        return {"copy_": image, one: same, other: {**same, f"{cell.index // 2}/pair.csv": b"%d" % cell.index}}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the four small tasks and this one make."""
    folder = tmp_path_factory.mktemp("looked") / "job"
    for job in (job_of(folder), told_in(folder)):
        assert run_job(job) == "complete"
    shutil.copytree(folder, folder.with_name("kept"))
    return folder


@pytest.fixture
def folder(kept: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Its folder, in which anything may be changed."""
    monkeypatch.chdir(kept)  # else all that the tests import is read as the job's own
    yield kept
    shutil.rmtree(kept)
    shutil.copytree(kept.with_name("kept"), kept)


def told_in(folder: Path) -> Job:
    task = {"tests.chunkflow.engine.test_cell_look:Told": {"image": "image", "copy_": "copy"}}
    task = {name: {**fields, "first": "first", "second": "second"} for name, fields in task.items()}
    layers = {"image": str(folder / "image"), "copy": str(folder / "copy")}
    job = make_job(folder, layers, [task], chunk=[32, 32, 32], storage=[32, 32, 16])
    return job.model_copy(update={"work": f"file://{folder}/told"})


def said(job: Job, deep: bool = True) -> list[str]:
    return [fault.said for fault in cf.check(job.work, deep).faults]


def watched(patch: pytest.MonkeyPatch, owner: type, name: str) -> list[tuple[Any, ...]]:
    """The calls of a method from now on."""
    calls: list[tuple[Any, ...]] = []
    before = getattr(owner, name)

    def call(*given: Any) -> Any:
        calls.append(given)
        return before(*given)

    patch.setattr(owner, name, call)
    return calls


def reports(folder: Path) -> list[Path]:
    return sorted((folder / "told").rglob("*.csv"))


def test_files_of_one_name_in_two_folders_are_told_apart(folder: Path) -> None:
    job = told_in(folder)
    assert said(job) == []
    lost = reports(folder)[0]
    lost.unlink()
    assert said(job) == [f"file://{lost} is missing."]


def as_an_earlier_one(part: Path) -> None:
    """Let a part name its files without their outputs."""
    rows = pa.ipc.open_file(unseal(part.read_bytes(), "part")).read_all()
    names = [name for some in json.loads(rows.schema.metadata[b"files"]).values() for name in some]
    sink = pa.BufferOutputStream()
    rows = rows.replace_schema_metadata({**rows.schema.metadata, b"files": json.dumps(names).encode()})
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    part.write_bytes(seal(bytes(sink.getvalue())))


@pytest.mark.parametrize("earlier", [False, True])
def test_a_restart_knows_all_files_that_parts_name(folder: Path, earlier: bool) -> None:
    job = told_in(folder)
    for part in (folder / "told" / "parts").rglob("*.arrow") if earlier else ():
        as_an_earlier_one(part)
    assert said(job) == []
    plan = open_plan(job)
    named = names_of(plan, plan.steps[0], Parts(Folder(plan.work)))
    found = {f"{url}/{name}" for url, names in named for name in names}
    assert {f"file://{path}" for path in reports(folder)} <= found
    assert earlier or not [url for url in found if url.endswith(".csv") and not Path(url[7:]).exists()]


def test_a_file_of_an_earlier_part_is_missed_in_any_folder(folder: Path) -> None:
    as_an_earlier_one(folder / "told" / "parts" / "Told" / "0000" / "1.arrow")
    for path in (folder / "told").rglob("1.csv"):
        path.unlink()
    (found,) = said(told_in(folder))
    assert found.startswith("1.csv is missing in ")


def test_what_is_not_compared_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = watched(monkeypatch, Folder, "opened")
    flip(reports(folder)[0])
    assert (said(told_in(folder), deep=False), read) == ([], [])
    assert len(said(told_in(folder))) == 1
    assert read


def into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "what",
    [
        "work/parts/Count/0000/3.arrow",
        "work/parts/*prepare.json",
        "work/tables/objects/000000.parquet",
        "tiles/mesh/*:*",
        "tiles/1000*/*",
        "tiles/provenance",
    ],
)
def test_what_a_disk_cannot_read_is_one_fault_of_many(folder: Path, what: str) -> None:
    job = job_of(folder)
    path = sorted(folder.glob(what))[-1]
    into_a_folder(path)
    (folder / "smooth" / "info").unlink()
    gone, found = sorted(said(job), key=lambda text: "smooth/info" not in text)
    assert gone.startswith(f"file://{folder}/smooth/info is missing")
    assert f"file://{path} cannot be read: Is a directory." in found


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT])
def test_a_bad_sector_is_a_fault_and_a_store_that_is_silent_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def broken(name: str, data: IO[bytes]) -> int:
        if name.endswith(".parquet"):
            raise OSError(number, "it says no")
        return digest_of(name, data)

    monkeypatch.setattr("chunkflow.engine.run.cell_look.digest_of", broken)
    if number == errno.EIO:
        assert all("cannot be read: Input/output error." in text for text in said(job_of(folder)))
        assert said(job_of(folder))
    else:
        with pytest.raises(StorageError, match="it says no"):
            said(job_of(folder))


def change(path: Path, do: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_bytes())
    do(document)
    path.write_text(json.dumps(document))


def test_descriptions_of_another_version_and_with_additions_are_none_that_are_damaged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(folder)
    monkeypatch.setattr("chunkflow.__version__", "99.0")
    change(folder / "tiles" / "info", lambda info: info.update(skeletons="skeletons"))
    change(folder / "tiles" / "info", lambda info: info["scales"].append({"key": "2_2_2"}))
    change(folder / "tiles" / "provenance", lambda told: told["owners"].append("lab@example.org"))
    assert said(job) == []
    change(folder / "tiles" / "info", lambda info: info["scales"][0].update(size=[1, 1, 1]))
    (folder / "tiles" / "provenance").write_text("[]")
    assert [text.partition(" is damaged")[0] for text in said(job)] == [
        f"file://{folder}/tiles/info",
        f"file://{folder}/tiles/provenance",
    ]
    assert run_job(job) == "complete"
    assert said(job) == []


def test_voxels_are_decoded_where_nothing_else_tells_and_a_storage_chunk_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, made = (watched(monkeypatch, Volume, name) for name in ("read", "__init__"))
    job = job_of(folder)
    plan, ledger = open_plan(job), Ledger.load(Folder(job.work))
    assert list(faults_of(plan, ledger, deep=True)) == []
    assert reads == []
    for stage in ledger.stages.values():
        stage.digests[:] = 0  # as in a ledger of an earlier chunkflow
    assert list(faults_of(plan, ledger, deep=True)) == []
    assert len(reads) == len([*folder.glob("smooth/1000*/*"), *folder.glob("tiles/1000*/*")])
    assert all(size <= most for _, box in reads for size, most in zip(box.size, (32, 32, 16), strict=True))
    assert sorted(info.url for _, info in made) == [f"file://{folder}/smooth", f"file://{folder}/tiles"]


def test_few_cells_are_looked_at_together_where_they_are_large(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[int] = []

    def one_by_one(do: Callable[[int], list[str]], some: Sequence[int]) -> list[list[str]]:
        together.append(len(some))
        return [do(one) for one in some]

    monkeypatch.setattr("chunkflow.engine.run.checking.HELD_BYTES", 3 * 32 * 32 * 16 * 8)
    monkeypatch.setattr("chunkflow.engine.run.checking.side_by_side", one_by_one)
    job = job_of(folder, more=2)
    plan, ledger = open_plan(job), Ledger.load(Folder(job.work))
    assert list(faults_of(plan, ledger, deep=True)) == []
    assert max(together) == 12  # of uint16; of labels it is a quarter of that
    assert together.count(3) == 4


def test_behind_a_damaged_part_no_file_of_a_layer_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(folder)
    plan, ledger = open_plan(job), Ledger.load(Folder(job.work))
    cut_short(sorted(folder.glob("work/parts/Count/0000/*.arrow"))[-1])
    cut_short(sorted(folder.glob("smooth/1000*/*"))[-1])
    calls = [watched(monkeypatch, Folder, name) for name in ("opened", "exists", "get")]

    def asked() -> list[str]:
        return [folder.url for some in calls for folder, _ in some]

    finish = plan.stage_index("Count.finish")
    (fault,) = faults_behind(plan, ledger, {finish: [0]})
    assert (fault.task, set(asked())) == ("Count", {plan.work})
    last = plan.stage_index("Count")
    (fault,) = faults_behind(plan, ledger, {last: [len(plan.stages[last].grid) - 1]})
    assert fault.task == "Smooth"
    for some in calls:
        some.clear()
    assert list(faults_behind(plan, ledger, {last: [0]})) == []
    near = [url for url in asked() if url.endswith(("/smooth", "/tiles"))]
    assert 0 < len(near) < len(list(folder.glob("smooth/1000*/*")))
