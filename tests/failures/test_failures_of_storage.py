"""Storage that fails for a while or for good, and damaged inputs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.run.events import CellFailed, Event
from chunkflow.engine.run.opening import open_run
from chunkflow.errors import StorageError
from chunkflow.jobs.planned import open_plan
from tests.support.jobs import read_layer, run_job
from tests.support.smooth_jobs import CHUNK, as_without_fault, smooth_job, state_of


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
    assert state_of(job).stages["Smooth"].causes["storage"] >= 10
    as_without_fault(job, tmp_path)


def test_an_input_that_can_never_be_read(tmp_path: Path) -> None:
    job = smooth_job(tmp_path)
    chunk = tmp_path / "image" / "1000_1000_2000" / CHUNK
    away = chunk.rename(tmp_path / "away")
    chunk.mkdir()
    assert run_job(job, backoff=0.001) == "incomplete"
    step = state_of(job).stages["Smooth"]
    assert step.failed == 8, "all eight cells read a voxel of it"
    assert {f.attempt for f in step.failures.values()} == {8}
    with open_run(open_plan(job), {}) as ledger:  # whoever runs it again tries them again, and says so
        assert (ledger.state.stages["Smooth"].failed, ledger.state.stages["Smooth"].failures) == (0, {})
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
    step = state_of(job).stages["Smooth"]
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
    assert not state_of(job).stages["Smooth"].causes
    as_without_fault(job, tmp_path)
