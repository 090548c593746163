"""The command that checks what a job has made."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkflow.engine.run.checking import Fault
from chunkflow.jobs.work import Checked
from tests.support.commands import Command
from tests.support.files.damage import flip


def test_what_is_damaged_is_named_and_made_again(lab: Path, command: Command) -> None:
    command("run", "job.yaml", "--serial")
    said = command("check", "work")
    assert said.code == 0
    assert "finished chunks of" in said.out
    assert "nothing is missing, nothing is damaged." in said.out
    part = lab / "work" / "parts" / "measure" / "0000" / "1.arrow"
    flip(part)
    said = command("check", "work", "--deep")
    assert said.code == 1
    assert f"measure chunk 1: The part file://{part} is damaged: its checksum does not match." in said.out
    assert (
        f"1 fault in {lab}/work. Have them made again: chunkflow check {lab}/work --deep --repair" in said.err
    )
    assert f"chunkflow check {lab}/work --repair" in command("check", "work").err
    said = command("check", "work", "--repair")
    assert said.code == 0
    assert "1 fault. 1 chunk will be done again by the next run." in said.out
    assert f"Go on with: chunkflow retry {lab}/work" in said.out
    command("retry", "work", "--serial")
    assert command("check", "work", "--deep").code == 0


def test_faults_are_counted_whatever_is_said_of_them(
    lab: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a library says of a file may have several lines."""
    faults = tuple(Fault("measure", index, "It is torn:\nhere\nand there.") for index in range(3))
    monkeypatch.setattr("cli.jobs.check.SHOWN", 2)
    monkeypatch.setattr("cli.jobs.check.check_work", lambda *_: Checked("work", 9, faults))
    said = command("check", "work")
    assert said.out.count("and there.") == 2
    assert "... and 1 more." in said.out
    assert "3 faults in work." in said.err


def test_no_other_run_is_asked_for_where_nothing_is_to_be_done(lab: Path, command: Command) -> None:
    command("run", "job.yaml", "--serial")
    (lab / "nuclei" / "info").unlink()
    said = command("check", "work", "--repair")
    assert (said.code, "chunkflow retry" in said.out) == (0, False)
    assert "nuclei/info is missing; the next run writes it anew." in said.out
