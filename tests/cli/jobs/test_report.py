"""The report: every piece once, a bar for each by worker, what failed, and methods that can be quoted."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.errors import StorageError
from chunkflow.people.reports.methods import methods
from chunkflow.people.reports.report import job_text
from chunkflow.people.reports.timeline import timeline
from tests.support.commands import Command, stumbling


def test_every_piece_is_in_it_once(lab: Path, command: Command) -> None:
    command("run", "job.yaml", "--serial")
    page = (lab / "work" / "report.html").read_text()
    assert "Of 20 chunks" in page
    assert "20 are done, 0 failed and 0 are left" in page
    total = re.search(r"<tr class=total>(.*?)</tr>", page)
    assert total is not None
    assert re.findall(r"<td>(.*?)</td>", total[1])[:3] == ["all", "20", "20"]
    bars = re.findall(r"<title>(\S+ \d+), read", page)
    assert len(bars) == len(set(bars)) == 20


def test_what_tasks_left_for_people_is_in_it(lab: Path, command: Command) -> None:
    """Pictures within the page, so that it can be sent on; other files by links that lead to them."""
    job = yaml.safe_load((lab / "job.yaml").read_text())
    job["tasks"] += [{"count": {"objects": "objects"}}, {"count": {"objects": "objects", "counts": "again"}}]
    (lab / "job.yaml").write_text(yaml.safe_dump(job))
    assert command("run", "job.yaml", "--serial").code == 0
    page = (lab / "work" / "report.html").read_text()
    assert [page.count(f"<h3>{task}</h3>") for task in ("count", "count-2", "measure")] == [1, 1, 0]
    drawn = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    reports = lab / "work" / "reports"
    assert [base64.b64decode(text) for text in drawn] == [
        (reports / task / "counts.png").read_bytes() for task in ("count", "count-2")
    ]
    links = re.findall(r'<a href="([^"]+)">counts.csv</a>', page)
    assert [(lab / "work" / link).is_file() for link in links] == [True, True]


def test_what_failed_is_named_with_its_traceback(lab: Path, command: Command) -> None:
    stumbling(lab)
    command("run", "job.yaml", "--serial")
    page = html.unescape((lab / "work" / "report.html").read_text())
    assert "incomplete" in page
    assert "Stumble chunk 1: bug, set aside after attempt 3" in page
    assert "ArithmeticError: stumbled over it" in page
    assert "Stumble: 3 × bug" in page
    state = Ledger.load(Folder(f"file://{lab}/work")).state
    assert "a task of our own, own:Stumble" in methods(state)
    assert "copy an image, but stumble over one chunk" in methods(state)


def test_the_methods_name_volumes_parameters_and_what_was_decided(lab: Path, command: Command) -> None:
    command("run", "job.yaml", "--serial", "--set", "tasks.segment.threshold=auto")
    state = Ledger.load(Folder(f"file://{lab}/work")).state
    text = methods(state)
    assert "dapi has 48 × 40 × 36 voxels of 2 × 2 × 2 µm (uint16)." in text
    assert "label every nucleus of dapi" in text
    assert "diameter 10 micrometres" in text
    assert re.search(r"threshold [\d.]+ grey values, decided from the volume", text)
    assert "in chunks of 32 × 32 × 32 voxels" in text


def test_the_job_in_it_runs_as_it_is(lab: Path, command: Command) -> None:
    command("run", "job.yaml", "--serial", "--set", "layers.copied={url: copied, encoding: raw}")
    state = Ledger.load(Folder(f"file://{lab}/work")).state
    (lab / "again.yaml").write_text(job_text(state))
    assert yaml.safe_load(job_text(state))["layers"]["copied"] == {"url": f"{lab}/copied", "encoding": "raw"}
    said = command("run", "again.yaml", "--serial")
    assert said.code == 0
    assert "20 of them done before" in said.out


def test_a_timeline_has_a_row_for_every_worker_in_order_and_an_axis() -> None:
    bar = {"task": "a.merge1", "chunk": 3, "at": 5.0, "seconds": [1, 2, 1]}
    log: list[dict[str, Any]] = [{"event": "started", "at": 0.0}]
    log += [bar | {"worker": "worker-10"}, bar | {"worker": "worker-2"}]
    log += [
        {"worker": "worker-2", "task": "b/x", "chunk": 4, "at": 7.0, "seconds": [0, 8, 0], "cause": "bug"}
    ]
    drawn = timeline(log)
    assert re.findall(r">(worker-\d+)<", drawn) == ["worker-2", "worker-10"]
    assert drawn.count("<rect") == 3
    assert "failed" in drawn
    assert re.findall(r">(\d+ s)<", drawn) == ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s"]
    assert "Nothing was mapped" in timeline(log[:1])


def test_a_report_that_cannot_be_written_does_not_hide_how_the_run_ended(
    lab: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(work: str) -> str:
        raise StorageError("the disk is full")

    monkeypatch.setattr("cli.jobs.run.write_report", fail)
    stumbling(lab)
    said = command("run", "job.yaml", "--serial")
    assert (said.code, said.err.startswith("The job is incomplete")) == (1, True)
    assert "The report could not be written: the disk is full" in said.out
