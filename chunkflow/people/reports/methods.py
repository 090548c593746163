"""What was done, as a paragraph that a paper can quote, from the tasks' own declarations.

1. The software, the chunks, and every volume that was read with its size and its voxels.
2. A sentence a task: what its docstring says that it does, with the names of the layers put in.
3. Its parameters, those left at their defaults too, with their units and rounded to what can be read.
4. What the task decided for itself, said to be so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from chunkflow.data.info import LayerInfo, VoxelsInfo
from chunkflow.engine.ledger.state import State
from chunkflow.engine.planning.job import TaskEntry
from chunkflow.errors import ChunkflowError
from chunkflow.modules import Modules
from chunkflow.registry import builtin_tasks
from chunkflow.task import Task

UNITS = re.compile(r"\b(?:cubic micrometres|micrometres|nanometres|nm|voxels|diameters|grey values)$")


def methods(state: State) -> str:
    assert state.job is not None
    plan, versions = state.job.plan, state.versions
    modules = Modules(Path(str(versions["folder"])) if "folder" in versions else None)
    chunk = " × ".join(map(str, plan.chunk))
    part = f" Only a part was processed, voxels {plan.box} (x, y, z)." if plan.box else ""
    read = [_volume(layer.name, layer.info) for layer in plan.layers]
    sentences = [
        f"Volumes were processed with chunkflow {versions.get('chunkflow')} "
        f"(Python {versions.get('python')}, Ray {versions.get('ray')}) in chunks of {chunk} voxels, "
        f"on which the result does not depend.{part}",
        *[text for text in read if text],
        *[_task(entry, state, modules) for entry in plan.job.tasks],
    ]
    return " ".join(sentences)


def decided(state: State, entry: str) -> dict[str, Any]:
    """What a task's `prepare` chose, of all its steps."""
    found: dict[str, Any] = {}
    for name, stage in state.stages.items():
        if stage.prepared and (name == f"{entry}.prepare" or name.startswith(f"{entry}/")):
            found |= stage.prepared
    return found


def _volume(name: str, info: LayerInfo) -> str:
    if not isinstance(info, VoxelsInfo):
        return ""
    size = " × ".join(map(str, info.volume.size))
    voxel = " × ".join(f"{v / 1000:.4g}" for v in info.voxel_size)
    at = f" at mip {info.mip}" if info.mip else ""
    return f"{name}{at} has {size} voxels of {voxel} µm ({info.dtype})."


def _task(entry: TaskEntry, state: State, modules: Modules) -> str:
    try:
        task = entry.load(modules.reading([entry.module]))
    except ChunkflowError:  # a user's module that is not here: what was given is known all the same
        given = ", ".join(f"{key} {_value(value)}" for key, value in entry.parameters.items())
        return f"{entry.name} ({entry.type}) was run with {given}."
    said = ", ".join(_parameters(task, decided(state, entry.name)))
    origin = "" if entry.type in builtin_tasks() else f", a task of our own, {entry.type}"
    return (
        f"Task {entry.name} (version {task.result_version()}{origin}): {_deed(task)} "
        f"[{_layers(task)}{'; ' if said else ''}{said}]."
    )


def _deed(task: Task) -> str:
    """The first sentence of the docstring, with the names of layers for those of the fields."""
    text = " ".join((type(task).__doc__ or "").partition("\n\n")[0].split()).rstrip(".")
    names = {role.name: getattr(task, role.name) for role in task.roles()}
    for field, value in names.items():
        if value:
            text = text.replace(f"`{field}`", ", ".join(value) if isinstance(value, list) else value)
    return text[:1].lower() + text[1:]


def _layers(task: Task) -> str:
    parts = []
    for role in task.roles():
        value = getattr(task, role.name)
        if value:
            parts.append(f"{role.name} {', '.join(value) if isinstance(value, list) else value}")
    return "; ".join(parts)


def _parameters(task: Task, chosen: dict[str, Any]) -> Iterator[str]:
    layers = {role.name for role in task.roles()}
    for name, info in type(task).model_fields.items():
        value = getattr(task, name)
        label = name.replace("_", " ")
        if name in layers:
            continue
        if name in chosen and chosen[name] != value:
            yield f"{label} {_value(chosen[name])}{_unit(info)}, decided from the volume"
        elif value is not None and value != () and value != "":
            yield f"{label} {_value(value)}{_unit(info)}"


def _unit(info: FieldInfo) -> str:
    """The unit that ends a field's description, before what it says of the default."""
    found = UNITS.search((info.description or "").partition(";")[0])
    return f" {found.group()}" if found else ""


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " × ".join(_value(item) for item in value)
    return str(value)
