"""How a job stands, from its work folder alone; and who watches hears of the end."""

from __future__ import annotations

import html
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

import chunkflow as cf
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.jobs.status import Status
from tests.support.commands import Command, stumbling
from tests.support.jobs import make_layer


def test_each_task_has_a_line_and_a_picture(lab: Path, command: Command) -> None:
    command("run", "job.yaml", "--serial")
    said = command("status", "work")
    assert said.code == 0
    assert "rat: complete" in said.out
    assert "segment (seen along z)\n██\n██" in said.out


def test_a_failed_chunk_is_marked_where_it_lies(lab: Path, command: Command) -> None:
    stumbling(lab)
    command("run", "job.yaml", "--serial")
    said = command("status", "work")
    assert "rat: incomplete" in said.out
    assert "Stumble (seen along z)\n█!\n██" in said.out


def test_what_lies_behind_a_failed_chunk_is_said_to_be_blocked(lab: Path, command: Command) -> None:
    stumbling(lab)
    command("run", "job.yaml", "--serial")
    said = command("status", "work").out
    assert "blocked" in said
    assert "waiting" not in said
    (lab / "well").touch()
    command("retry", "work", "--serial")
    said = command("status", "work").out
    assert "blocked" not in said
    assert "waiting" in said


def test_a_threshold_in_doubt_is_told_in_run_status_report_and_api(lab: Path, command: Command) -> None:
    noise = np.random.default_rng(0).normal(200, 10, (48, 40, 36)).astype(np.uint16)
    make_layer(lab / "noise", noise, voxel_size=(2000, 2000, 2000), chunk=(16, 16, 16))
    job = yaml.safe_load((lab / "job.yaml").read_text())
    job["layers"]["dapi"] = str(lab / "noise")
    job["tasks"][0]["segment"]["threshold"] = "auto"
    (lab / "job.yaml").write_text(yaml.safe_dump(job))
    told = " ".join(command("run", "job.yaml", "--serial").out.split())
    said = cf.Work.open(lab / "work").status().warnings["segment"]
    assert said.startswith("the sample is as uneven as the noise of single voxels")
    assert said in told
    assert said in " ".join(command("status", "work").out.split())
    assert said in html.unescape((lab / "work" / "report.html").read_text())
    assert said in repr(cf.Work.open(lab / "work").status())


def test_watching_ends_with_the_run(lab: Path, command: Command) -> None:
    command("run", "job.yaml", "--serial")
    said = command("status", "work", "--watch")
    assert said.code == 0
    assert "complete" in said.out


def test_a_run_that_was_killed_is_not_said_to_go_on(
    lab: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("run", "job.yaml", "--serial")
    segments = sorted((lab / "work" / "ledger").glob("*.json"))
    ended = next(i for i, segment in enumerate(segments) if '"ended"' in segment.read_text())
    for segment in segments[ended:]:  # as if the runner had been killed before it wrote them
        segment.unlink()
    later = time.time() + 3600
    monkeypatch.setattr("time.time", lambda: later)
    said = command("status", "work", "--watch")
    assert "no sign of life for 1 h 0 min" in said.out
    assert "chunkflow retry" in " ".join(said.out.split())


def test_a_status_has_its_numbers_and_is_a_table(lab: Path, command: Command) -> None:
    stumbling(lab)
    command("run", "job.yaml", "--serial")
    status = Status.of(Ledger.load(Folder(f"file://{lab}/work")).state)
    assert (status.name, status.ended, status.alive, status.cost) == ("rat", "incomplete", False, None)
    assert status.standing.startswith("incomplete, ")
    stumble = status.stages["Stumble"]
    assert (stumble.done, stumble.chunks, stumble.failed) == (7, 8, 1)
    assert (stumble.waiting, stumble.left) == (0, None)
    assert stumble.picture == "█!\n██"
    (failure,) = stumble.failures
    assert (failure.index, failure.cause) == (1, "bug")
    shown = repr(status).splitlines()
    assert shown[0] == status.title
    assert shown[1].split() == status.head
    printed = [line.split() for line in command("status", "work").out.splitlines()]
    assert [line.split() for line in shown[1:]] == printed[1 : len(shown)]
    page = status._repr_html_()
    assert page.count("<tr>") == 1 + len(status.stages)
    assert "<th>blocked</th>" in page
