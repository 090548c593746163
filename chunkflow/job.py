"""A job: the YAML file, checked as a whole before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from chunkflow.documents import read_document
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from chunkflow.registry import location_of, short_name, task_type
from chunkflow.resources import Resources
from chunkflow.task import Task
from chunkflow.volume import full_url

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
QUEUE = re.compile(r"(sqs://[A-Za-z0-9_-]{1,70})?")
"""SQS takes names of 80 characters; `-answers` and `-work-12` come after."""


class LayerEntry(BaseModel):
    """Where a layer is, and how it is stored if the job makes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    encoding: str | None = None
    sharded: bool | None = None
    """Many storage chunks in a file; if left out, where there would be more than a million files else."""

    @model_validator(mode="before")
    @classmethod
    def _plain_url(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value


class TaskEntry(BaseModel):
    """One task of a job: its name in this job, the registry's name for what it does, and its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str
    parameters: dict[str, Any] = Field(default_factory=dict)

    @field_validator("type")
    @classmethod
    def _short(cls, value: str) -> str:
        return short_name(value)

    def load(self) -> Task:
        """The task itself, its parameters checked."""
        kind = task_type(self.type)
        try:
            return kind(**self.parameters)
        except ValidationError as error:
            raise BadInput(f"Task {self.name}: {first_fault(error, kind)}") from error

    def located(self, base: Path) -> TaskEntry:
        """The same with whole paths, for a job file that lies in `base`."""
        return self.model_copy(update={"parameters": task_type(self.type).located(self.parameters, base)})


class Job(BaseModel):
    """What to do over which layers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    work: str
    chunk: Vec | None = None
    storage: Vec = (64, 64, 64)
    layers: dict[str, LayerEntry] = Field(default_factory=dict)
    mask: str | None = None
    tasks: list[TaskEntry] = Field(min_length=1)
    memory: float = Field(default=2.0, gt=0, description="GiB that one worker may take")
    resources: dict[str, Resources] = Field(default_factory=dict)
    """What a worker of each task takes, by the task's name in this job."""
    queue: str = ""
    """Where pools of several clusters lease chunks, as sqs://NAME; empty, within the runner's process."""
    fill_missing: bool = False
    heartbeat: float = Field(default=5.0, gt=0, description="seconds between the runner's signs of life")

    @field_validator("chunk", "storage")
    @classmethod
    def _positive(cls, value: Vec | None) -> Vec | None:
        if value is not None and min(value) < 1:
            raise ValueError("must be three sizes of at least 1 voxel")
        return value

    @field_validator("layers")
    @classmethod
    def _named(cls, value: dict[str, LayerEntry]) -> dict[str, LayerEntry]:
        for name in value:
            if not NAME.fullmatch(name):
                raise ValueError(f"a layer may not be named {name!r}: use letters, digits, '_', '-' and '.'")
        return value

    @field_validator("queue")
    @classmethod
    def _queue_named(cls, value: str) -> str:
        if not QUEUE.fullmatch(value):
            raise ValueError("must be sqs://NAME with letters, digits, '-' and '_', 70 at most")
        return value

    @classmethod
    def from_file(cls, path: Path, settings: Sequence[str] = (), until: str = "") -> Job:
        """Read a job file up to the task `until`, with `key=value` settings over it (layers.dapi=URL)."""
        document = read_document(path, "job file", "keys such as job, work, layers and tasks")
        for setting in settings:
            _lay_over(document, setting)
        job = cls.from_document(document, path.resolve().parent)
        return job.until(until) if until else job

    @classmethod
    def from_document(cls, document: Mapping[str, Any], base: Path) -> Job:
        """Check a job as written by a person; relative paths count from `base`."""
        document = dict(document)
        document["tasks"] = _task_entries(document.get("tasks"))
        try:
            job = cls.model_validate(document)
        except ValidationError as error:
            raise BadInput(f"The job file: {first_fault(error, cls)}") from error
        layers = {
            name: entry.model_copy(update={"url": full_url(entry.url, base)})
            for name, entry in job.layers.items()
        }
        tasks = [entry.located(base) for entry in job.tasks]
        return job.model_copy(update={"work": full_url(job.work, base), "layers": layers, "tasks": tasks})

    def work_for(self, box: Box | None) -> str:
        """The work folder of a run on the whole volume, or on a part of it."""
        return self.work if box is None else f"{self.work}/try/{box}"

    def until(self, task: str) -> Job:
        """The job up to this task, which may be gone on with later."""
        names = [entry.name for entry in self.tasks]
        if task not in names:
            raise BadInput(f"--until {task}: this job has no such task; it has {', '.join(names)}.")
        return self.model_copy(update={"tasks": self.tasks[: names.index(task) + 1]})


def split_reference(reference: str) -> tuple[str, int]:
    """A layer's name and mip, from `name` or `name@mip`."""
    name, at, mip = reference.partition("@")
    if at and not mip.isdigit():
        raise BadInput(f"{reference!r} does not name a layer; write name or name@mip, as in dapi@1.")
    return name, int(mip or 0)


def first_fault(error: ValidationError, model: type[BaseModel]) -> str:
    """One sentence for the first thing that is wrong."""
    faults = error.errors()
    fault = faults[0]
    if fault["type"] == "missing":  # where it is misspelt, that a key is unknown says more
        beside = (one for one in faults if one["loc"][:-1] == fault["loc"][:-1])
        fault = next((one for one in beside if one["type"] == "extra_forbidden"), fault)
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = f"; known are {', '.join(model.model_fields)}" if len(fault["loc"]) == 1 else ""
        return f"the key {where!r} is unknown{known}."
    if fault["type"] == "missing":
        return f"the key {where!r} is missing."
    said = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {said}, not {fault['input']!r}." if fault["loc"] else f"{said}."


def _task_entries(tasks: Any) -> list[dict[str, Any]]:
    """Each item `{segment: {...}}` as a name that is unique in the job, a type and parameters."""
    if not isinstance(tasks, list) or not tasks:
        raise BadInput(
            "The job file: 'tasks' must be a list such as '- segment: {image: dapi, labels: nuclei}'."
        )
    entries: list[dict[str, Any]] = []
    used: dict[str, int] = {}
    for item in tasks:
        if isinstance(item, dict) and set(item) == {"name", "type", "parameters"}:
            entries.append(item)
            continue
        if isinstance(item, str):
            item = {item: {}}
        if not isinstance(item, dict) or len(item) != 1:
            raise BadInput(f"The job file: each task must be one name with its parameters, not {item!r}.")
        key, parameters = next(iter(item.items()))
        if not isinstance(parameters or {}, dict):
            raise BadInput(
                f"The job file: the parameters of {key} must be keys with values, not {parameters!r}."
            )
        location_of(str(key))  # refuses what there is not
        name = str(key).partition(":")[2] or str(key)
        used[name] = used.get(name, 0) + 1
        unique = name if used[name] == 1 else f"{name}-{used[name]}"
        entries.append({"name": unique, "type": str(key), "parameters": parameters or {}})
    return entries


def _lay_over(document: dict[str, Any], setting: str) -> None:
    """Set one key of a job as read from YAML: layers.dapi=URL, chunk=[64,64,64], tasks.segment.diameter=9."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise BadInput(f"--set takes key=value, as in layers.dapi=file:///data/dapi, not {setting!r}.")
    *path, last = key.strip().split(".")
    place: Any = document
    for part in path:
        place = _inside(place, part, key)
    if not isinstance(place, dict):
        raise BadInput(f"--set {key}: there is no such key in the job.")
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"--set {key} takes a value as in YAML, not {text!r}.") from error


def _inside(place: Any, part: str, key: str) -> Any:
    if isinstance(place, list):  # tasks, by name
        for item in place:
            if isinstance(item, dict) and part in item:
                item[part] = item[part] if isinstance(item[part], dict) else {}
                return item[part]
        raise BadInput(f"--set {key}: the job has no task {part!r}.")
    if not isinstance(place, dict):
        raise BadInput(f"--set {key}: there is no such key in the job.")
    if isinstance(place.get(part), str) and key.startswith("layers."):
        place[part] = {"url": place[part]}
    return place.setdefault(part, {})
