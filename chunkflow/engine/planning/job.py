"""A job: the YAML file, checked as a whole before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from chunkflow.data.documents import first_fault, read_document
from chunkflow.data.info import full_url
from chunkflow.engine.planning.settings import lay_over
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from chunkflow.modules import Modules, folder_of
from chunkflow.registry import location_of, name_of, short_name, task_type
from chunkflow.resources import Resources
from chunkflow.task import Task
from chunkflow.words import split_mip

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
QUEUE = re.compile(r"(sqs://[A-Za-z0-9_-]{1,70})?")
"""SQS takes names of 80 characters; `-answers` and `-work-12` come after."""


def _whole(value: Any) -> Any:
    return full_url(str(value)) if isinstance(value, str | Path) else value


Location = Annotated[str, BeforeValidator(_whole)]
"""A path or URL, made whole: a relative path counts from the working folder."""


class LayerEntry(BaseModel):
    """Where a layer is, and how it is stored if the job makes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Location
    encoding: str | None = None
    sharded: bool | None = None
    """Many storage chunks in a file; if left out, where there would be more than a million files else."""

    @model_validator(mode="before")
    @classmethod
    def _plain_url(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str | Path) else value


class TaskEntry(BaseModel):
    """One task of a job: its name there, its name in the registry, and its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str
    parameters: dict[str, Any] = Field(default_factory=dict)

    @field_validator("type")
    @classmethod
    def _short(cls, value: str) -> str:
        return short_name(value)

    def load(self, modules: Modules) -> Task:
        """The task itself, its parameters checked; `modules` are those beside the job file."""
        kind = task_type(self.type, modules)
        try:
            return kind(**self.parameters)
        except ValidationError as error:
            raise BadInput(f"Task {self.name}: {first_fault(error, kind)}") from error

    def code(self, modules: Modules) -> str:
        """A hash of the code beside the job file that does it; empty where that is installed."""
        return "+".join(filter(None, map(modules.code, (self.module, *self.named(modules)))))

    def named(self, modules: Modules) -> list[str]:
        """The modules that its parameters name; none where its class is not known here."""
        if self.module and not modules.has(self.module):
            return []
        try:
            return task_type(self.type, modules).modules_named(self.parameters)
        except BadInput:
            return []

    @property
    def module(self) -> str:
        """The module of a class of the user's own; empty for a task with a short name."""
        return self.type.rpartition(":")[0]

    def located(self, base: Path, modules: Modules) -> TaskEntry:
        """The same with whole paths, for a job file that lies in `base`."""
        kind = task_type(self.type, modules)
        return self.model_copy(update={"parameters": kind.located(self.parameters, base)})


class Job(BaseModel):
    """What to do over which layers."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    name: str = Field(validation_alias=AliasChoices("job", "name"), serialization_alias="job")
    work: Location
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
    _modules: Modules = PrivateAttr(default=Modules())

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

    @field_validator("tasks", mode="before")
    @classmethod
    def _entries(cls, value: Any) -> list[Any]:
        return _task_entries(value)

    @model_validator(mode="wrap")
    @classmethod
    def _beside_its_tasks(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """The user's own tasks lie with the classes of those given as objects, else beside the job file, of
        a job made in Python in the working folder; a record does not say where."""
        try:
            job = handler(data)
        except ValidationError as error:
            raise BadInput(f"The job: {first_fault(error, cls)}") from error
        if not isinstance(data, Mapping):
            return job
        folders = _folders(data["tasks"])
        if len(folders) > 1:
            places = " and ".join(sorted(map(str, folders)))
            raise BadInput(f"The job's own tasks lie in {places}: put their files into one folder.")
        elsewhere = None if all(map(_is_recorded, data["tasks"])) else Path.cwd()
        folder = next(iter(folders), info.context["base"] if info.context else elsewhere)
        job._modules = job._reading(Modules(folder))
        return job

    @classmethod
    def from_file(cls, path: Path, settings: Sequence[str] = (), until: str = "") -> Self:
        """Read a job file up to the task `until`, with settings such as layers.dapi=URL over it."""
        document = read_document(path, "job file", "keys such as job, work, layers and tasks")
        for setting in settings:
            lay_over(document, setting)
        job = cls.from_document(document, path.resolve().parent)
        return job.until(until) if until else job

    @classmethod
    def from_document(cls, document: Mapping[str, Any], base: Path) -> Self:
        """Check a job as written by a person; relative paths count from `base`."""
        written = {"tasks": None, **_with_whole_places(document, base)}
        job = cls.model_validate(written, context={"base": base})
        return job.model_copy(update={"tasks": [entry.located(base, job.modules) for entry in job.tasks]})

    @property
    def modules(self) -> Modules:
        """The user's own tasks as they were read; in no record, as they lie elsewhere on other machines."""
        return self._modules

    def beside(self, modules: Modules) -> Self:
        """The job with its user's own tasks in these modules, which are read as far as they were not."""
        job = self.model_copy()
        job._modules = self._reading(modules)
        return job

    def _reading(self, modules: Modules) -> Modules:
        modules = modules.reading(entry.module for entry in self.tasks)
        return modules.reading(name for entry in self.tasks for name in entry.named(modules))

    def _own(self) -> list[str]:
        return [name for entry in self.tasks for name in (entry.module, *entry.named(self.modules))]

    def sources(self) -> dict[str, bytes]:
        """The user's own code that the tasks need, by path in the job's folder."""
        return self.modules.sources(self._own())

    def work_for(self, box: Box | None) -> str:
        """The work folder of a run on the whole volume, or on a part of it."""
        return self.work if box is None else f"{self.work}/try/{box}"

    def until(self, task: str) -> Self:
        """The job up to this task, which may be gone on with later."""
        names = [entry.name for entry in self.tasks]
        if task not in names:
            raise BadInput(f"This job has no task {task} to run until; it has {', '.join(names)}.")
        return self.model_copy(update={"tasks": self.tasks[: names.index(task) + 1]})


def _with_whole_places(document: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """A job as written, whose relative paths count from `base`."""

    def whole(place: Any) -> Any:
        if isinstance(place, dict) and "url" in place:
            return {**place, "url": whole(place["url"])}
        return full_url(place, base) if isinstance(place, str) else place

    places = {"work": whole(document["work"])} if "work" in document else {}
    layers = document.get("layers")
    if isinstance(layers, dict):
        places["layers"] = {name: whole(place) for name, place in layers.items()}
    return {**document, **places}


def split_reference(reference: str) -> tuple[str, int]:
    """A layer's name and mip, from `name` or `name@mip`."""
    name, mip = split_mip(reference)
    if "@" in name:
        raise BadInput(f"{reference!r} does not name a layer; write name or name@mip, as in dapi@1.")
    return name, mip or 0


def _task_entries(tasks: Any) -> list[Any]:
    """Each task, however given, as a name unique in the job, a type and parameters."""
    if not isinstance(tasks, list | tuple) or not tasks:
        raise BadInput("The job: 'tasks' must be a list such as '- segment: {image: dapi, labels: nuclei}'.")
    entries: list[Any] = []
    used: dict[str, int] = {}
    for item in tasks:
        if _is_recorded(item):
            entries.append(item)
            continue
        name, kind, parameters = _named_task(item)
        used[name] = used.get(name, 0) + 1
        unique = name if used[name] == 1 else f"{name}-{used[name]}"
        entries.append({"name": unique, "type": kind, "parameters": parameters})
    return entries


def _is_recorded(item: Any) -> bool:
    """Whether a task is given as an entry of a job that was checked before."""
    return isinstance(item, TaskEntry) or (
        isinstance(item, dict) and set(item) == set(TaskEntry.model_fields)
    )


def _named_task(item: Any) -> tuple[str, str, dict[str, Any]]:
    """The name, type and parameters of `segment`, `{segment: {...}}`, a task or `(name, task)`."""
    name, task = item if isinstance(item, tuple) and len(item) == 2 else ("", item)
    if isinstance(task, Task):
        kind = name_of(type(task))
        parameters = task.model_dump(mode="json", exclude_unset=True)
        return str(name) or kind.rpartition(":")[2], kind, parameters
    if isinstance(item, str):
        item = {item: {}}
    if not isinstance(item, dict) or len(item) != 1:
        raise BadInput(f"The job: each task must be one name with its parameters, not {item!r}.")
    key, parameters = next(iter(item.items()))
    if not isinstance(parameters or {}, dict):
        raise BadInput(f"The job: the parameters of {key} must be keys with values, not {parameters!r}.")
    location_of(str(key))  # refuses a name that no task has
    return str(key).rpartition(":")[2], str(key), parameters or {}


def _folders(tasks: Any) -> set[Path]:
    """Where the modules of those tasks lie that were given as objects and have no short name."""
    objects = (item[1] if isinstance(item, tuple) else item for item in tasks)
    kinds = {type(task) for task in objects if isinstance(task, Task)}
    return {folder for kind in kinds if ":" in name_of(kind) and (folder := folder_of(kind))}
