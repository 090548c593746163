"""The built-in tasks by their short names, and the user's own modules beside a job file."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from functools import cache
from pathlib import Path

import tasks
from chunkflow.errors import BadInput
from chunkflow.job import Job
from chunkflow.task import Task

MOST_SOURCE_BYTES = 10_000_000


@cache
def builtin_tasks() -> dict[str, type[Task]]:
    """Every module of tasks/ whose class of the same name is a Task."""
    found = {}
    for module in pkgutil.iter_modules(tasks.__path__):
        kind = getattr(importlib.import_module(f"tasks.{module.name}"), _class_name(module.name), None)
        if isinstance(kind, type) and issubclass(kind, Task):
            found[module.name] = kind
    return found


def _class_name(module: str) -> str:
    return "".join(part.capitalize() for part in module.split("_"))


def task_type(name: str) -> str:
    """The import string of a task as a job file names it: a built-in's name, or module:Class."""
    if ":" in name:
        return name
    known = builtin_tasks()
    if name not in known:
        raise BadInput(
            f"There is no task {name!r}; there are {', '.join(known)}, and your own as module:Class."
        )
    return f"tasks.{name}:{known[name].__name__}"


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
