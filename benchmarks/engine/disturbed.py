"""What it costs that nodes and the runner are killed all the time, beside the same job undisturbed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.figure import Figure
from cli.demo.nuclei import document

SIZE = (256, 256, 128)
RUNNER_KILLS = 2


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="chunkflow-bench-") as folder:
        calm = _took(Path(folder), "calm", 0, "")
        chaos = _took(Path(folder), "chaos", RUNNER_KILLS, "nodes")
    what = f"whole job, {chaos['nodes']} nodes and {chaos['runners']} runners killed: wall clock"
    return [Figure(what, chaos["seconds"], "s", calm["seconds"], "undisturbed", better="lower")]


def _took(folder: Path, name: str, runner_kills: int, victims: str) -> dict[str, Any]:
    """Run the demo's job in a process that has a cluster of its own."""
    written = document(folder / name, SIZE, 1) | {"chunk": [64, 64, 64], "heartbeat": 0.5}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(written))
    command = [sys.executable, "-m", "testbed.chaos_run", str(file), str(runner_kills), victims]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    assert told["code"] == 0, ran.stderr[-3000:]
    return told
