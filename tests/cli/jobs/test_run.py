"""Running a job by its file: to its end, again, in part, with other values, past a failure and a restart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.commands import MAIN, ROOT, Command, is_one_sentence, listing, stumbling
from tests.support.jobs import read_layer, read_table


def test_a_job_runs_and_run_again_does_nothing_twice(lab: Path, command: Command) -> None:
    said = command("run", "job.yaml", "--serial")
    assert (said.code, said.err) == (0, "")
    assert "The report is at" in said.out
    assert read_table(lab / "work" / "tables" / "objects").num_rows > 3
    again = command("run", "job.yaml", "--serial")
    assert again.code == 0
    assert "20 chunks, 20 of them done before" in again.out


def test_a_job_runs_up_to_a_task_and_goes_on_later(lab: Path, command: Command) -> None:
    said = command("run", "job.yaml", "--serial", "--until", "segment")
    assert (said.code, said.err) == (0, "")
    assert not (lab / "work" / "tables").exists()
    labels = read_layer(lab / "nuclei")
    said = command("run", "job.yaml", "--serial")
    assert said.code == 0
    assert "20 chunks, 9 of them done before" in said.out
    assert read_table(lab / "work" / "tables" / "objects").num_rows > 3
    np.testing.assert_array_equal(read_layer(lab / "nuclei"), labels)
    wrong = command("run", "job.yaml", "--until", "mesure")
    assert wrong.code == 2
    assert is_one_sentence(wrong.err)
    assert "mesure" in wrong.err


def test_what_prepare_decided_can_be_pasted(lab: Path, command: Command) -> None:
    said = command("run", "job.yaml", "--serial", "--set", "tasks.segment.threshold=auto")
    line = next(line for line in said.out.splitlines() if "decided" in line)
    pasted = yaml.safe_load("{" + line.partition("elsewhere: ")[2] + "}")
    assert set(pasted) == {"threshold"}
    whole = read_layer(lab / "nuclei")
    setting = f"tasks.segment.threshold={pasted['threshold']}"
    command("run", "job.yaml", "--serial", "--set", setting, "--set", "work=w2", "--set", "layers.nuclei=n2")
    np.testing.assert_array_equal(read_layer(lab / "n2"), whole)


def test_a_part_is_tried_without_touching_the_rest(lab: Path, command: Command) -> None:
    said = command("run", "job.yaml", "--serial", "--box", "8-40,8-24,0-20")
    assert said.code == 0
    assert not (lab / "nuclei").exists()
    (part_of,) = (lab / "work" / "try").iterdir()
    assert f"{part_of}/layers" in said.out
    part = read_layer(part_of / "layers" / "nuclei")
    assert part.shape == (34, 18, 21)  # with the voxel beyond that measure looks at
    assert any(read_table(part_of / "tables" / "objects")["cut"].to_pylist())
    assert command("run", "job.yaml", "--serial").code == 0
    np.testing.assert_array_equal(read_layer(lab / "nuclei")[7:41, 7:25, :21], part)


def test_other_parameters_are_refused_until_the_task_is_cleared(
    lab: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("run", "job.yaml", "--serial")
    (lab / "job.yaml").write_text((lab / "job.yaml").read_text().replace("diameter: 10.0", "diameter: 12.0"))
    before = listing(lab)
    said = command("run", "job.yaml", "--serial")
    assert said.code == 2
    assert "tasks.segment.diameter: 10.0 -> 12.0" in said.err
    said = command("run", "job.yaml", "--serial", "--restart", "segment")
    assert said.code == 2
    assert "--yes" in said.err
    assert listing(lab) == before
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert command("run", "job.yaml", "--serial", "--restart", "segment").code == 2
    assert listing(lab) == before
    assert command("run", "job.yaml", "--serial", "--restart", "segment", "--yes").code == 0
    assert command("run", "job.yaml", "--serial", "--restart", "measure, segment", "--yes").code == 0
    said = command("run", "job.yaml", "--serial", "--restart", "segment,mesh", "--yes")
    assert (said.code, "no task mesh to restart" in said.err) == (2, True)


def test_a_chunk_that_fails_is_shown_replayed_and_tried_again(lab: Path, command: Command) -> None:
    stumbling(lab)
    said = command("run", "job.yaml", "--serial")
    assert said.code == 1
    assert "1 chunk failed" in said.err
    assert is_one_sentence(said.err)
    shown = command("failed", "work")
    assert "Stumble chunk 1" in shown.out
    assert "stumbled over it" in shown.out
    assert f"chunkflow replay {lab / 'work'} Stumble 1" in shown.out
    assert "!" in command("status", "work").out
    replayed = command("replay", "work", "Stumble", "1")
    assert replayed.code == 1
    assert "ArithmeticError: stumbled over it" in replayed.err
    assert command("replay", "work", "Stumble", "99").code == 2
    assert command("replay", "work", "Stumbled", "0").code == 2
    (lab / "well").touch()
    assert command("replay", "work", "Stumble", "1").code == 0
    assert command("retry", "work", "--serial").code == 0
    np.testing.assert_array_equal(read_layer(lab / "copied"), read_layer(lab / "dapi"))
    assert "No chunk has failed" in command("failed", "work").out


def test_the_plan_says_what_it_takes_and_writes_nothing(lab: Path, command: Command) -> None:
    before = listing(lab)
    said = command("plan", "job.yaml", "--sample", "2", "--workers", "2")
    assert (said.code, said.err) == (0, "")
    assert "segment" in said.out
    assert "measure" in said.out
    assert "in all, without measure" in said.out
    assert listing(lab) == before
    untimed = command("plan", "job.yaml", "--workers", "2").out
    assert "s a chunk" not in untimed
    assert "…" not in untimed, "every name is there as a whole"
    assert "segment reads" in untimed


def test_the_log_has_a_line_for_every_piece(lab: Path, command: Command) -> None:
    command("run", "job.yaml", "--serial")
    (log,) = (lab / "work" / "logs").iterdir()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len([line for line in lines if "chunk" in line]) == 20
    assert lines[-1]["event"] == "complete"


def test_as_a_program_of_its_own_its_exit_code_and_words_are_the_same(lab: Path) -> None:
    def chunkflow(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
        return subprocess.run(
            [sys.executable, "-c", MAIN, *words], cwd=lab, env=environment, capture_output=True, text=True
        )

    shown = chunkflow("--help")
    assert shown.returncode == 0
    assert "Tasks, one at a time" in shown.stdout
    refused = chunkflow("run", "nothing.yaml")
    assert (refused.returncode, refused.stderr) == (2, "There is no job file nothing.yaml.\n")
    traced = chunkflow("--debug", "run", "nothing.yaml")
    assert traced.returncode == 2
    assert "Traceback" in traced.stderr
