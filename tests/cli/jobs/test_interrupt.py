"""Ctrl-C on a terminal reaches every process of the run: what is in flight is finished all the same."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import yaml

from tests.support.commands import MAIN, ROOT, Command
from tests.support.jobs import ended_after, read_layer

SLOW = '''
"""A task that tells which chunks it has begun and ended."""

import time

from own import Keep


class Slow(Keep):
    """Copy an image, slowly."""

    notes: str

    def map(self, cell, image):
        with open(f"{self.notes}/{cell.index}", "a") as file:
            file.write("begun ")
            file.flush()
            with open(f"{self.notes}.pause") as pause:
                time.sleep(float(pause.read()))
            file.write("ended ")
        return image
'''


def started(folder: Path, *words: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """A command in a process group of its own, as a shell starts it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return ended_after(process)


def wait_for(notes: Path, process: subprocess.Popen[str]) -> None:
    """Until a chunk has been begun."""
    while not any(notes.iterdir()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def slow_job(lab: Path, pause: float = 1.0) -> Path:
    (lab / "slow.py").write_text(SLOW)
    notes = lab / "notes"
    notes.mkdir()
    (lab / "notes.pause").write_text(str(pause))
    document = {
        "job": "slow",
        "work": "work",
        "chunk": [16, 16, 16],
        "storage": [16, 16, 16],
        "layers": {"dapi": "dapi", "kept": "kept"},
        "tasks": [{"slow:Slow": {"image": "dapi", "kept": "kept", "notes": str(notes)}}],
    }
    (lab / "job.yaml").write_text(yaml.safe_dump(document))
    return notes


def test_ctrl_c_finishes_what_is_in_flight_and_a_second_run_does_the_rest(
    lab: Path, command: Command
) -> None:
    notes = slow_job(lab)
    with started(lab, "run", "job.yaml", "--workers", "2") as process:
        wait_for(notes, process)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130
    assert "Stopping" in out
    assert f"chunkflow retry {lab / 'work'}" in err
    begun = {int(note.name) for note in notes.iterdir()}
    assert all(note.read_text() == "begun ended " for note in notes.iterdir())
    said = command("status", "work").out
    assert "interrupted" in said
    assert re.search(rf"Slow +27 +{len(begun)} ", said), said

    for note in notes.iterdir():
        note.unlink()
    (lab / "notes.pause").write_text("0")
    assert command("retry", "work", "--serial").code == 0
    assert {int(note.name) for note in notes.iterdir()} == set(range(27)) - begun
    np.testing.assert_array_equal(read_layer(lab / "kept"), read_layer(lab / "dapi"))


def test_a_second_ctrl_c_ends_it_at_once_and_sigterm_is_as_good(lab: Path, command: Command) -> None:
    notes = slow_job(lab, pause=2.0)
    with started(lab, "run", "job.yaml", "--serial") as process:
        wait_for(notes, process)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        while "Stopping" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert "at once" in err
    assert "interrupted" in command("status", "work").out
