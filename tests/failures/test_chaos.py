"""A whole job while nodes of its cluster are killed at random, and its runner, too: as one that nothing
disturbed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from cli.demo.nuclei import document
from tests.support.jobs import run_job
from tests.support.same import all_made, assert_all_accounted, assert_same

ROOT = Path(__file__).parent.parent.parent
RUNNER_KILLS = 2


def demo(folder: Path) -> dict[str, Any]:
    written: dict[str, Any] = document(folder, (64, 64, 64), 3)
    return written | {"chunk": [32, 32, 32], "storage": [32, 32, 32], "heartbeat": 0.25}


def test_nothing_is_lost_when_nodes_and_the_runner_are_killed(tmp_path: Path) -> None:
    written = demo(tmp_path / "chaos")
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(written))
    command = [sys.executable, "-m", "testbed.chaos_run", str(file), str(RUNNER_KILLS)]
    ran = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    serial = Job.from_document(demo(tmp_path / "serial"), tmp_path)
    assert run_job(serial) == "complete"
    out, err = ran.communicate(timeout=600)
    assert ran.returncode == 0, err[-3000:]
    told = json.loads(out.splitlines()[-1])
    assert (told["code"], told["runners"]) == (0, RUNNER_KILLS), err[-3000:]
    assert told["nodes"] >= 1
    job = Job.from_document(written, tmp_path)
    state = Ledger.load(Folder(job.work)).state
    assert len(state.runs) == 1 + RUNNER_KILLS
    causes = sum((step.causes for step in state.stages.values()), Counter[str]())
    assert causes["node lost"] >= 1
    assert set(causes) <= {"node lost", "preempted"}, causes
    assert_all_accounted(job)
    assert_same(all_made(job), all_made(serial), "after the chaos")
