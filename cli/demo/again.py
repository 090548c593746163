"""A demo that is begun again in its folder: what is done stays, and what people have changed there."""

from __future__ import annotations

from pathlib import Path

from chunkflow.data.atomic import written_whole
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import State
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput


def done_before(job: Job) -> bool:
    """Whether an earlier run has ended with all tasks of the job complete."""
    known = Ledger.load(Folder(job.work)).state
    return known.ended == "complete" and tasks_of(known) == [entry.name for entry in job.tasks]


def refuse_without(path: Path, job: Job, task: str) -> None:
    """Raise BadInput where a file is gone that a task of an earlier run has read."""
    if not path.exists() and task in tasks_of(Ledger.load(Folder(job.work)).state):
        raise BadInput(f"{path} is gone, which the job was run with: put it back, or name another folder.")


def tasks_of(known: State) -> list[str]:
    """The names of the tasks that the last run had."""
    return [entry.name for entry in known.job.plan.job.tasks] if known.job is not None else []


def put_once(path: Path, text: str) -> None:
    """Write a file of the demo where it is not there yet; one that is there must say the same."""
    if path.exists():
        if path.read_bytes() != text.encode():
            raise BadInput(
                f"{path} is not as this demo writes it, and is left so: delete it, or name another folder."
            )
        return
    with written_whole(path) as temporary:
        temporary.write_bytes(text.encode())
