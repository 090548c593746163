"""SLURM's own commands: run here, or by way of files where compute nodes may not run them."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from chunkflow.errors import BadInput, ChunkflowError

COMMAND_SECONDS = 60.0
RELAY_SECONDS = 120.0
"""A shared file system may show a new file to other nodes a minute late."""
ALLOWED = ("sbatch", "scancel", "squeue")
HEAD = "head"
UNREACHED = ("Unable to contact slurm controller", "Could not establish a configuration source")
"""What its commands say where they are installed and no SLURM is there."""
TASKS = 10_000
"""Array indexes are below this, so that a job's number and index make one whole number."""
OVER = ("COMPLETING", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL",
        "DEADLINE", "OUT_OF_MEMORY")  # fmt: skip
_FORMAT = "%F|%K|%j|%T|%N|%V|%r"

RunCommand = Callable[[Sequence[str]], str]
"""Runs one command of SLURM and gives what it says; raises SlurmRefused where SLURM does not do it."""


class SlurmRefused(ChunkflowError):
    """SLURM did not do as asked; the text is its own."""


def run_here(words: Sequence[str]) -> str:
    """Run a command on this machine. Where this is a job itself, its own variables must not tell the new
    job what it is."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLURM_", "SLURMD_", "SBATCH_", "RAY_", "CUDA_VISIBLE"))
        or name == "SLURM_CONF"
    }
    try:
        done = subprocess.run(
            words, env=ours, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise BadInput(
            f"There is no command {words[0]} here: SLURM's commands must be on the PATH, as on a login node."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SlurmRefused(f"{words[0]} gave no answer in {COMMAND_SECONDS:.0f} s") from error
    if done.returncode:
        said = _said(done.stderr or done.stdout) or f"{words[0]} failed"
        if any(sign in said for sign in UNREACHED):
            said = f"SLURM does not answer on this machine; go to a login node of the site ({said})"
        raise SlurmRefused(said)
    return done.stdout


def _said(text: str) -> str:
    """What SLURM complained of, without the names of its programs."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for prefix in ("sbatch: ", "squeue: ", "scancel: ", "scontrol: ", "sinfo: ", "error: "):
        lines = [line.removeprefix(prefix) for line in lines]
    return "; ".join(dict.fromkeys(lines)).rstrip(".")


@dataclass(frozen=True)
class Relay:
    """Commands asked for in files; `serve` on the login node runs them. Only the owner of the folder can
    write there, and nothing but the three commands is run."""

    folder: Path

    def run(self, words: Sequence[str]) -> str:
        """Ask, and wait for the answer."""
        name = uuid.uuid4().hex
        answer = self.folder / f"{name}.answer"
        write_whole(self.folder / f"{name}.asked", json.dumps(list(words)))
        deadline = time.monotonic() + RELAY_SECONDS
        while not answer.exists():
            if time.monotonic() > deadline:
                (self.folder / f"{name}.asked").unlink(missing_ok=True)
                raise SlurmRefused(
                    "nobody on the login node runs SLURM's commands; let `chunkflow cluster up` run there"
                )
            time.sleep(0.2)
            os.utime(self.folder)  # makes a shared file system look again
        said = json.loads(answer.read_text())
        answer.unlink()
        if said["refused"]:
            raise SlurmRefused(said["text"])
        return str(said["text"])

    def serve(self) -> int:
        """Run what was asked since the last time; returns how many commands."""
        asked = sorted(self.folder.glob("*.asked"))
        for path in asked:
            try:
                words = json.loads(path.read_text())
                path.unlink()
            except FileNotFoundError:  # who asked waits no longer
                continue
            answer = {"refused": False, "text": ""}
            try:
                if words[0] not in ALLOWED:
                    raise SlurmRefused(f"{words[0]} is not one of {', '.join(ALLOWED)}")
                answer["text"] = run_here(words)
            except ChunkflowError as error:
                answer = {"refused": True, "text": str(error)}
            write_whole(path.with_suffix(".answer"), json.dumps(answer))
        return len(asked)


def write_whole(path: Path, text: str) -> None:
    """Write a file that others may be reading."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


@dataclass(frozen=True)
class SlurmJob:
    """One job of the cluster that SLURM still knows: its head, or one worker."""

    group: str
    """The group of workers that it belongs to, or `head`."""
    number: int
    """Of the job, or of the array that it is of."""
    index: int
    state: str
    reason: str
    node: str
    asked: float

    @property
    def id(self) -> str:
        """As scancel takes it."""
        return f"{self.number}_{self.index}" if self.index else str(self.number)

    @property
    def key(self) -> str:
        """The whole number by which Ray and we know the same node; it stays when the job is requeued."""
        return str(self.number * TASKS + self.index)

    @property
    def runs(self) -> bool:
        return self.state == "RUNNING"

    @property
    def over(self) -> bool:
        """It works no more, though its node may not be free yet."""
        return self.state in OVER


@dataclass(frozen=True)
class Slurm:
    """The jobs of one cluster."""

    name: str
    groups: tuple[str, ...]
    run: RunCommand = run_here

    def submit(self, script: Path, group: str, count: int = 0) -> int:
        """Ask for one job, or for an array of `count`; returns its number."""
        array = [f"--array=1-{count}"] if count else []
        words = ["sbatch", "--parsable", f"--job-name={self._job_name(group)}", *array, str(script)]
        return int(self.run(words).strip().partition(";")[0])

    def jobs(self) -> list[SlurmJob]:
        """All jobs of the cluster that SLURM still knows: one command, however many."""
        names = ",".join(self._job_name(group) for group in (HEAD, *self.groups))
        words = ["squeue", "--noheader", "--array", f"--user={getpass.getuser()}", f"--name={names}"]
        lines = self.run([*words, f"--format={_FORMAT}"]).splitlines()
        return [self._job(line) for line in lines if line.strip()]

    def cancel(self, ids: Iterable[str]) -> None:
        """End jobs; those that are over already do not matter."""
        wanted = list(ids)
        if wanted:
            self.run(["scancel", "--quiet", *wanted])

    def _job_name(self, group: str) -> str:
        return f"chunkflow-{self.name}-{group}"

    def _job(self, line: str) -> SlurmJob:
        number, index, name, state, node, asked, reason = line.split("|", 6)
        return SlurmJob(
            name.removeprefix(self._job_name("")),
            int(number),
            int(index) if index.isdigit() else 0,
            state,
            reason,
            node,
            _clock(asked),
        )


def _clock(text: str) -> float:
    """A time as SLURM writes it, by the clock of this machine's zone; 0 where there is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
