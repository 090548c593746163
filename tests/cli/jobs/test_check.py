"""The command that checks what a job has made."""

from __future__ import annotations

from pathlib import Path

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
    assert f"1 fault in {lab}/work. Have them made again: chunkflow check {lab}/work --repair" in said.err
    said = command("check", "work", "--repair")
    assert said.code == 0
    assert "1 fault. 1 chunk will be done again by the next run." in said.out
    assert f"Go on with: chunkflow retry {lab}/work" in said.out
    command("retry", "work", "--serial")
    assert command("check", "work", "--deep").code == 0
