"""Runners with simulated workers, started, killed in the middle, and heard."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job


def killed_in_the_middle(runner: subprocess.Popen[str], job: Job, cells: int) -> float:
    """Kill a runner once it has done half of it; says by how many MB it had grown."""
    ledger = Ledger.load(Folder(job.work))
    assert runner.stdout is not None
    before = most = json.loads(runner.stdout.readline())["bytes"]
    while sum(step.done for step in ledger.stages.values()) < cells / 2:
        assert runner.poll() is None, "it ended by itself"
        most = max(most, psutil.Process(runner.pid).memory_info().rss)
        time.sleep(0.2)
        ledger.refresh()
    runner.kill()
    runner.communicate()
    return float(most - before) / 1e6


def written(folder: Path, job: Job) -> Path:
    path = folder / f"{job.name}.json"
    path.write_text(job.model_dump_json())
    return path


def started(what: str, words: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "testbed.scaling_run", what, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def told_by(runner: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = runner.communicate()
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    assert told["status"] == "complete", said
    return told


def ended(process: subprocess.Popen[str]) -> None:
    try:
        process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
