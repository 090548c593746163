"""The built-in tasks by their short names, and the user's own modules beside a job file."""

from __future__ import annotations

import importlib
import sys
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from chunkflow.errors import BadInput
from chunkflow.job import Job
from chunkflow.task import Task
from cli.summaries import class_name, task_names

MOST_SOURCE_BYTES = 10_000_000


@cache
def builtin_task(name: str) -> type[Task]:
    """The task in the module of that name in tasks/."""
    if name not in task_names():
        near = get_close_matches(name, task_names(), 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise BadInput(
            f"There is no task {name!r}; {meant}there are {', '.join(task_names())}, "
            "and your own as module:Class."
        )
    kind: type[Task] = getattr(importlib.import_module(f"tasks.{name}"), class_name(name))
    return kind


def builtin_tasks() -> dict[str, type[Task]]:
    """All of them, by their short names."""
    return {name: builtin_task(name) for name in task_names()}


def task_type(name: str) -> str:
    """The import string of a task as a job file names it: a built-in's name, or module:Class."""
    return name if ":" in name else f"tasks.{name}:{builtin_task(name).__name__}"


def load_job(path: Path, settings: list[str] | None, until: str = "") -> Job:
    """The job of a file, whose user's own tasks lie beside it; up to the task `until`."""
    see_modules_of(path.resolve().parent)
    job = Job.from_file(path, task_type, settings or [])
    return job.until(until) if until else job


def see_modules_of(folder: Path) -> None:
    """Let the modules that lie beside a job file be imported."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def sources_of(job: Job, folder: Path) -> dict[str, bytes]:
    """The user's own code that the workers need: modules beside the job file, and the packages it names."""
    own = [entry.type.partition(":")[0] for entry in job.tasks]
    own = [name for name in own if not name.startswith(("tasks.", "chunkflow."))]
    if not own:
        return {}
    files = set(folder.glob("*.py"))
    for name in own:
        files |= set((folder / name.split(".")[0]).rglob("*.py"))
    sources = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(files)}
    size = sum(map(len, sources.values()))
    if size > MOST_SOURCE_BYTES:
        raise BadInput(
            f"The Python files beside the job file take {size / 1e6:.0f} MB; move the job elsewhere."
        )
    return sources
