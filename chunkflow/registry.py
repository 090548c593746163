"""Tasks, and places where jobs run, by name; only the module of the one that is asked for is imported.

A task is named in one of three ways:
1. by a short name, from the table of the built-in tasks;
2. by a name that an installed package declares, as an entry point of the group `chunkflow.tasks`;
3. as `module:Class`, a class of the user's own.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from chunkflow.errors import BadInput
from chunkflow.modules import Modules, name_in_folder

if TYPE_CHECKING:
    from chunkflow.task import Task

TABLE = "tasks:TASKS"
"""Imported by name, as the tasks themselves are: the core knows none of them."""
GROUP = "chunkflow.tasks"
CLUSTER = {
    "machine": "cluster.workers.site:Machine",
    "cluster": "cluster.workers.site:Cluster",
    "submit": "cluster.submission.submit:submit",
    "side by side": "cluster.workers.side_by_side:run_side_by_side",
    "submission": "cluster.submission.submitted:submission_of",
}
"""Places where jobs run on Ray, and the ways to give a job to a cluster and to ask for it there. Ray, which
takes two seconds, is imported where one of them is used."""


def builtin_tasks() -> dict[str, str]:
    """The built-in tasks: their classes, as module:Class, by their short names."""
    table: dict[str, str] = _attribute(TABLE)
    return table


@functools.cache
def installed_tasks() -> dict[str, str]:
    """The tasks that installed packages declare, in the same way; those of a built-in's name are left out.

    All that is installed is gone through, so it is done once.
    """
    taken = builtin_tasks()
    return {point.name: point.value for point in entry_points(group=GROUP) if point.name not in taken}


def tasks() -> dict[str, str]:
    """All tasks that have a short name: built in, and then those of installed packages."""
    return builtin_tasks() | installed_tasks()


def short_name(name: str) -> str:
    """A task's name as ledgers record it, however a job file or an earlier ledger writes it.

    Ledgers once recorded where a built-in task lay, when each lay in a module of its own name.
    """
    module, _, kind = name.partition(":")
    for short, location in builtin_tasks().items():
        if name == location or (module == f"tasks.{short}" and kind == location.partition(":")[2]):
            return short
    if not kind:
        return name
    return next((short for short, location in installed_tasks().items() if location == name), name)


def location_of(name: str) -> str:
    """A task's class, as module:Class; refuses a short name that no task has."""
    name = short_name(name)
    if ":" in name:
        return name
    location = builtin_tasks().get(name) or installed_tasks().get(name)
    if location is None:
        near = get_close_matches(name, tasks(), 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise BadInput(
            f"There is no task {name!r}; {meant}there are {', '.join(tasks())}, and your own as module:Class."
        )
    return location


def task_type(name: str, modules: Modules) -> type[Task]:
    """The class of a task; one of the user's own is looked for in `modules` first."""
    from chunkflow.task import Task  # takes a second, which those who only list names need not pay

    location = location_of(name)
    module, _, kind = location.partition(":")
    try:
        found = getattr(modules.load(module), kind, None)
    except ImportError as error:
        raise BadInput(
            f"The task {location} cannot be imported ({error}); its module must lie beside the job file "
            "or be installed."
        ) from error
    except Exception as error:  # whatever a user's module does while it is imported
        said = f"{type(error).__name__}: {error}"
        raise BadInput(f"The module {module} cannot be imported ({said}).") from error
    if found is None:
        raise BadInput(f"The module {module} has no task {kind}.")
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise BadInput(f"{location} is not a Task; let the class derive from chunkflow.task.Task.")
    return found


def name_of(kind: type[Task]) -> str:
    """The name of a task by its class: the inverse of `task_type`."""
    if kind.__module__ == "__main__" or "." in kind.__qualname__:
        raise BadInput(
            f"The task {kind.__qualname__} is defined where workers cannot import it: put its class at the "
            "top of a file of its own, as in smooth.py, and import it from there."
        )
    return short_name(f"{name_in_folder(kind.__module__)}:{kind.__qualname__}")


def from_cluster(name: str) -> Callable[..., Any]:
    """A part of cluster/ by its name in `CLUSTER`."""
    found: Callable[..., Any] = _attribute(CLUSTER[name])
    return found


def _attribute(location: str) -> Any:
    module, _, name = location.partition(":")
    return getattr(importlib.import_module(module), name)
