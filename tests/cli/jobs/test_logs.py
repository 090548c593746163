"""What is told of a run and of one chunk of it, from the work folder alone."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from chunkflow.data.folder import Folder
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.events import CellDone, Ended, Event, Started
from chunkflow.errors import BadInput
from chunkflow.jobs.log import Log, chunk_history, in_a_line, lines_of_chunk, log_texts, read_log
from chunkflow.jobs.work import Work
from tests.support.commands import Command
from tests.support.jobs import run_job


def stumbling(lab: Path) -> Path:
    job = {
        "job": "rat",
        "work": "work",
        "chunk": [32, 32, 32],
        "storage": [16, 16, 16],
        "layers": {"dapi": "dapi", "copied": "copied"},
        "tasks": [{"own:Stumble": {"image": "dapi", "kept": "copied", "over": 2}}],
    }
    (lab / "stumble.yaml").write_text(yaml.safe_dump(job))
    return lab / "stumble.yaml"


def test_each_attempt_at_a_chunk_is_told_from_all_runs(lab: Path, command: Command) -> None:
    assert command("run", stumbling(lab), "--serial").code == 1
    set_aside = command("logs", "work", "--chunk", "Stumble/2")
    assert set_aside.code == 0
    assert "Stumble chunk 2, bug: to be tried again" in set_aside.out
    assert "attempt 3, bug: set aside" in set_aside.out
    assert set_aside.out.count("    ArithmeticError: stumbled over it") == 3
    assert "The ledger says of Stumble chunk 2: set aside." in set_aside.out
    (lab / "well").touch()
    assert command("retry", "work", "--serial").code == 0
    mended = command("logs", "work", "--chunk", "Stumble/2").out
    assert mended.count("Stumble chunk 2,") == 4
    assert "Stumble chunk 2, done, read" in mended
    assert "The ledger says of Stumble chunk 2: done." in mended
    lines = list(lines_of_chunk(Folder(str(lab / "work")), "Stumble", 2))
    assert [line["attempt"] for line in lines] == [1, 2, 3, 1]
    assert all(lines[3]["bytes"])
    assert set(lines[3]) >= {"at", "worker", "node", "device", "seconds", "bytes"}
    assert len(read_log(Folder(str(lab / "work")), 1000)) > len(lines)


def test_logs_of_a_run_that_was_not_submitted_are_a_line_a_chunk(lab: Path, command: Command) -> None:
    assert command("run", "job.yaml", "--serial").code == 0
    told = command("logs", "work", "-f").out
    for task in ("segment", "measure"):
        assert f"{task} chunk 0, " in told
    assert told.splitlines()[0].endswith("started")
    assert told.splitlines()[-1].endswith("complete")


def test_who_follows_a_run_is_told_of_its_end(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkflow.jobs.log.POLL_SECONDS", 0.05)
    monkeypatch.setattr("chunkflow.jobs.log.EVERY_SECONDS", 0.0)
    clock = SimpleNamespace(**{**vars(time), "time": lambda: time.time() + 3600})  # another than the run's
    monkeypatch.setattr("chunkflow.jobs.status.time", clock)
    job = Job.from_file(lab / "job.yaml")
    told: list[str] = []

    def follow() -> None:
        told.extend(log_texts(Work.open(job.work), follow=True))

    follower = threading.Thread(target=follow, daemon=True)

    def before(event: Event) -> None:
        if isinstance(event, Started):
            follower.start()
        elif isinstance(event, Ended):
            time.sleep(1.0)  # as where workers take long to end

    def after(event: Event) -> None:
        while isinstance(event, CellDone) and follower.is_alive() and not told:
            time.sleep(0.02)

    assert run_job(job.until("segment"), listeners=[Log(Folder(job.work))]) == "complete"
    assert run_job(job, listeners=[before, Log(Folder(job.work)), after]) == "complete"
    follower.join(60)
    assert told[-1].endswith("complete")
    assert sum(line.endswith("complete") for line in told) == 2


def test_a_chunk_that_is_not_there_is_said(lab: Path, command: Command) -> None:
    assert command("run", "job.yaml", "--serial", "--until", "segment").code == 0
    for chunk, said in (
        ("segment", "takes TASK/INDEX"),
        ("mesh/1", "tasks: segment"),
        ("segment/x", "takes TASK/INDEX"),
        ("segment/99", "segment has chunks 0 to"),
    ):
        told = command("logs", "work", "--chunk", chunk)
        assert (told.code, said in told.err) == (2, True), told.err
    assert command("logs", "nowhere").code == 2
    assert command("stop", "work").code == 2


def test_the_history_of_a_chunk_is_data(lab: Path, command: Command) -> None:
    assert command("run", stumbling(lab), "--serial").code == 1
    work = Work.open(str(lab / "work"))
    found = chunk_history(work, "Stumble", 2)
    assert [line.get("cause") for line in found.lines] == ["bug"] * 3
    assert (found.state, chunk_history(work, "Stumble", 0).state) == ("set aside", "done")
    for task, index, said in (("mesh", 0, "no task 'mesh'"), ("Stumble", 99, "has chunks 0 to")):
        with pytest.raises(BadInput, match=said):
            chunk_history(work, task, index)


def test_a_chunk_that_was_done_twice_is_not_told_as_two() -> None:
    line = {"at": 1.0, "task": "segment", "chunk": 1, "worker": "w", "seconds": [0.1, 0.2, 0.3]}
    assert "chunk 1, done, read" in in_a_line(line)
    assert "chunk 1, done again, and counted once, read" in in_a_line({**line, "again": True})


def test_a_log_is_read_a_file_at_a_time(tmp_path: Path) -> None:
    """What is not of the chunk is never parsed: it may be of millions."""
    folder = Folder(str(tmp_path))
    line = {"at": 1.0, "task": "segment", "chunk": 1, "attempt": 1}
    told = [json.dumps(line | {"chunk": n}, separators=(",", ":")) for n in (1, 11, 111)]
    folder.put("logs/1-00000.jsonl", "\n".join([*told, '{"at":2,"task":"segm']).encode())
    folder.put("logs/2-00000.jsonl", told[0].encode())
    assert list(lines_of_chunk(folder, "segment", 1)) == [line, line]
    assert list(lines_of_chunk(folder, "measure", 1)) == []
