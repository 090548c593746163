"""A stand-in for `chunkflow serve` behind HAProxy, which notes how it was called, and the service as a job.

python -m tests.support.clusters.served FOLDER serve SOURCE… --port=… --processes=… --haproxy=…
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from chunkflow.people.service.lab.haproxy import write_haproxy

ROOT = Path(__file__).parents[3]
COMMAND = """#!/bin/bash
cd {root} && exec {python} -m tests.support.clusters.served {folder} "$@"
"""


def stand_in(folder: Path) -> Path:
    """A folder with a command `chunkflow`, which notes its words in `folder`/words."""
    commands = folder / "commands"
    commands.mkdir()
    command = commands / "chunkflow"
    command.write_text(COMMAND.format(root=ROOT, python=sys.executable, folder=folder))
    command.chmod(0o755)
    return commands


def words_of(folder: Path) -> list[list[str]]:
    """The words of each call."""
    return [json.loads(line) for line in (folder / "words").read_text().splitlines()]


def answer_at(port: int, path: str = "health") -> str:
    """What is answered there; empty where nothing is."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text or "healthy"
    except (urllib.error.URLError, OSError):
        return ""


def main(folder: Path, words: list[str]) -> None:
    with open(folder / "words", "a") as file:
        file.write(json.dumps(words) + "\n")
    named = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
    port = int(named["port"])
    ports = [port + number for number in range(1, int(named["processes"]) + 1)]
    notes = str(folder / "arrived.jsonl")
    server = [sys.executable, "-m", "tests.support.people.backend"]
    processes = [subprocess.Popen([*server, str(at), notes]) for at in ports]
    signal.signal(signal.SIGTERM, lambda *_: [process.terminate() for process in processes])
    write_haproxy(Path(named["haproxy"]), port, ports, host=named["host"])
    for process in processes:
        process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
