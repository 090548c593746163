"""Storage that fails for a while or for good, damaged inputs, a full disk, writes cut short."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import State
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.events import CellFailed, Event
from chunkflow.engine.run.opening import open_run
from chunkflow.errors import StorageError
from chunkflow.jobs.planned import open_plan
from tests.support.jobs import make_job, make_layer, read_layer, run_job
from tests.support.same import all_made, assert_all_accounted, assert_same

OWN = "tests.support.own_tasks.voxels:"
ROOT = Path(__file__).parent.parent.parent
CHUNK = "32-64_0-32_0-32"


def smooth_job(folder: Path, compress: bool = False, **keys: object) -> Job:
    """Eight cells; each reads two voxels beyond itself."""
    image = np.random.default_rng(5).integers(1, 1000, (64, 64, 64)).astype(np.uint16)
    if not (folder / "image").exists():
        make_layer(folder / "image", image)
        if compress:
            compress_all(folder / "image" / "1000_1000_2000")
    layers = {"image": str(folder / "image"), "smooth": str(folder / "out" / "smooth")}
    tasks = [{OWN + "Smooth": {"image": "image", "smooth": "smooth"}}]
    return make_job(folder, layers, tasks, chunk=[32, 32, 32], storage=[32, 32, 32], **keys)


def compress_all(folder: Path) -> None:
    import gzip

    for file in list(folder.iterdir()):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


def state_of(job: Job) -> State:
    return Ledger.load(Folder(job.work)).state


def as_without_fault(job: Job, folder: Path) -> None:
    assert run_job(job) == "complete"
    assert_all_accounted(job)
    clean = smooth_job(folder / "clean")
    assert run_job(clean) == "complete"
    assert_same(all_made(job), all_made(clean), "after mending")


def on_failure(do: Callable[[int], None]) -> list[Callable[[Event], None]]:
    """A listener that is called with the number of failures so far."""
    failures = 0

    def listen(event: Event) -> None:
        nonlocal failures
        if isinstance(event, CellFailed):
            failures += 1
            do(failures)

    return [listen]


def test_an_input_that_cannot_be_read_for_a_while(tmp_path: Path) -> None:
    job = smooth_job(tmp_path)
    chunk = tmp_path / "image" / "1000_1000_2000" / CHUNK
    away = chunk.rename(tmp_path / "away")
    chunk.mkdir()  # reading a folder is an error of the file system, whoever asks

    def mend(failures: int) -> None:
        if failures == 10:
            chunk.rmdir()
            away.rename(chunk)

    assert run_job(job, listeners=on_failure(mend)) == "complete"
    assert state_of(job).steps["Smooth"].causes["storage"] >= 10
    as_without_fault(job, tmp_path)


def test_an_input_that_can_never_be_read(tmp_path: Path) -> None:
    job = smooth_job(tmp_path)
    chunk = tmp_path / "image" / "1000_1000_2000" / CHUNK
    away = chunk.rename(tmp_path / "away")
    chunk.mkdir()
    assert run_job(job, backoff=0.001) == "incomplete"
    step = state_of(job).steps["Smooth"]
    assert step.failed == 8, "all eight cells read a voxel of it"
    assert {f.attempt for f in step.failures.values()} == {8}
    with open_run(open_plan(job), {}) as ledger:  # whoever runs it again tries them again, and says so
        assert (ledger.state.steps["Smooth"].failed, ledger.state.steps["Smooth"].failures) == (0, {})
    chunk.rmdir()
    away.rename(chunk)
    as_without_fault(job, tmp_path)


def test_a_ledger_that_cannot_be_written_for_a_moment_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = smooth_job(tmp_path, heartbeat=0.2)
    end, flush = Ledger.record_ended, Ledger.flush
    faults: list[str] = []

    def ended(ledger: Ledger, status: str) -> None:
        end(ledger, status)
        faults.extend(["once", "twice"])

    def failing(ledger: Ledger, now: bool = False) -> bool:
        if faults:
            raise StorageError(faults.pop())
        return flush(ledger, now)

    monkeypatch.setattr(Ledger, "record_ended", ended)
    monkeypatch.setattr(Ledger, "flush", failing)
    assert run_job(job) == "complete"
    assert state_of(job).ended == "complete"


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def fill_with_noise(file: Path) -> None:
    file.write_bytes(np.random.default_rng(0).bytes(file.stat().st_size - 7))


@pytest.mark.parametrize("harm", [cut_in_half, fill_with_noise, Path.unlink])
@pytest.mark.parametrize("compress", [False, True])
def test_a_damaged_input_is_named(tmp_path: Path, harm: Callable[[Path], None], compress: bool) -> None:
    job = smooth_job(tmp_path, compress)
    chunk = tmp_path / "image" / "1000_1000_2000" / (CHUNK + ".gz" * compress)
    whole = chunk.read_bytes()
    harm(chunk)
    assert run_job(job) == "incomplete"
    step = state_of(job).steps["Smooth"]
    assert (step.done, step.failed, step.causes["damaged input"]) == (0, 8, 24)
    said = step.failures[0].traceback.strip().splitlines()[-1]
    assert "image" in said
    assert ("32-64" in said and "lacks" in said) if harm is Path.unlink else "decoded" in said
    chunk.write_bytes(whole)
    as_without_fault(job, tmp_path)


def test_missing_input_is_zero_only_where_the_job_says_so(tmp_path: Path) -> None:
    job = smooth_job(tmp_path, fill_missing=True)
    (tmp_path / "image" / "1000_1000_2000" / CHUNK).unlink()
    assert run_job(job) == "complete"
    smooth = read_layer(tmp_path / "out" / "smooth")
    assert not smooth[34:, :30, :30].any()
    assert smooth[:28, :28, :28].all()


def test_a_corrupt_input_is_an_error_even_where_missing_ones_are_not(tmp_path: Path) -> None:
    job = smooth_job(tmp_path, fill_missing=True)
    cut_in_half(tmp_path / "image" / "1000_1000_2000" / CHUNK)
    assert run_job(job) == "incomplete"


class FullAt:
    """An open file on a disk of one megabyte: what does not fit is written in part."""

    def __init__(self, file: IO[bytes], disk: Path) -> None:
        self.file, self.disk = file, disk

    def __enter__(self) -> FullAt:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> int:
        room = 2**20 - sum(path.stat().st_size for path in self.disk.rglob("*") if path.is_file())
        if len(data) <= room:
            return self.file.write(data)
        self.file.write(data[: max(room, 0)])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of one megabyte; who is not root is given a folder that behaves as one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        opened = os.fdopen

        def fdopen(handle: int, *mode: Any) -> Any:
            file = opened(handle, *mode)
            within = Path(os.readlink(f"/proc/self/fd/{handle}")).is_relative_to(place.resolve())
            return FullAt(file, place) if within else file

        monkeypatch.setattr(os, "fdopen", fdopen)
    yield place
    if not mounted.returncode:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "out").symlink_to(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2**20 - 200_000))
    job = smooth_job(tmp_path)
    assert run_job(job, backoff=0.001) == "incomplete"
    step = state_of(job).steps["Smooth"]
    assert 0 < step.done < 8
    assert all("disk is full" in f.traceback for f in step.failures.values())
    leftovers = [
        name for name in os.listdir(small_disk / "smooth" / "1000_1000_2000") if name.endswith(".tmp")
    ]
    assert not leftovers
    ballast.unlink()
    as_without_fault(job, tmp_path)


def test_a_full_disk_under_the_ledger_ends_the_run_and_it_goes_on_later(
    tmp_path: Path, small_disk: Path
) -> None:
    (tmp_path / "work").symlink_to(small_disk)
    job = smooth_job(tmp_path, heartbeat=0.05)
    ballast = small_disk / "ballast"

    def fill(event: Event) -> None:
        if not ballast.exists():
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                for _ in range(2**20 // 1000 + 1):
                    file.write(bytes(1000))

    with pytest.raises(StorageError):
        run_job(job, listeners=[fill])
    ballast.unlink()
    as_without_fault(job, tmp_path)


def test_a_write_cut_short_leaves_no_torn_file(tmp_path: Path) -> None:
    """The process ends between writing a file and giving it its name."""
    job = smooth_job(tmp_path)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from chunkflow.engine.planning.job import Job\n"
        "from tests.support.jobs import run_job\n"
        "replace, left = os.replace, [4]\n"
        "def cut(a, b):\n"
        "    if 'smooth' in str(b) and '-' in str(b):\n"
        "        left[0] -= 1\n"
        "        if left[0] == 0:\n"
        "            os.truncate(a, 1000)\n"
        "            os._exit(9)\n"
        "    replace(a, b)\n"
        "os.replace = cut\n"
        "run_job(Job.model_validate_json(Path(sys.argv[1]).read_text()))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "job.json")], cwd=ROOT, capture_output=True
    )
    assert ran.returncode == 9, ran.stderr.decode()[-2000:]
    written = tmp_path / "out" / "smooth" / "1000_1000_2000"
    assert sum(name.endswith(".tmp") for name in os.listdir(written)) == 1
    as_without_fault(job, tmp_path)


def test_a_layer_rewritten_under_its_readers(tmp_path: Path) -> None:
    """Another program writes the same voxels again and again: nobody sees a half of them."""
    job = smooth_job(tmp_path)
    folder = Folder(str(tmp_path / "image" / "1000_1000_2000"))
    content = {name: folder.get(name) or b"" for name in folder.list()}
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            for name, data in content.items():
                folder.put(name, data)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        assert run_job(job) == "complete"
    finally:
        stop.set()
        writer.join()
    assert not state_of(job).steps["Smooth"].causes
    as_without_fault(job, tmp_path)
