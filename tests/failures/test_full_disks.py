"""Full disks and writes cut short leave nothing torn."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.serial import SerialExecutor
from chunkflow.engine.run.events import Ended, Event
from chunkflow.errors import StorageError
from tests.support.jobs import run_job
from tests.support.smooth_jobs import ROOT, as_without_fault, smooth_job, state_of


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


def as_owner(plan: Plan) -> SerialExecutor:
    """Writes as the owner of the ledger, so through its staging folders."""
    (owner,) = Ledger.load(Folder(plan.work)).state.staged
    return SerialExecutor(plan, owner)


def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "out").symlink_to(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2**20 - 200_000))
    job = smooth_job(tmp_path)
    staged: list[Path] = []

    def look(event: Event) -> None:
        if isinstance(event, Ended):
            staged.extend(path for folder in small_disk.rglob(".~*") for path in (folder, *folder.iterdir()))

    assert run_job(job, executor=as_owner, listeners=[look], backoff=0.001) == "incomplete"
    step = state_of(job).stages["Smooth"]
    assert 0 < step.done < 8
    assert all("disk is full" in f.traceback for f in step.failures.values())
    assert len(staged) == 1, "the staging folder, with nothing in it"
    assert not list(small_disk.rglob(".~*"))
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
