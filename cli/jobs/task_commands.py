"""Every task as a command of its own: a job of one task, from the task's own declaration.

The command's parameters are the task's fields: what it reads are arguments, what it writes and its parameters
are options. Layers are given by their paths or URLs.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Console

from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.task_job import job_of_task
from chunkflow.errors import BadInput
from chunkflow.geometry import Vec
from chunkflow.jobs.means import Means
from chunkflow.jobs.run import Run
from chunkflow.modules import Modules
from chunkflow.registry import task_type
from chunkflow.roles import FieldRole
from chunkflow.task import Task
from chunkflow.words import parse_box
from cli.jobs.run import follow
from cli.options import Address, BoxOption, RestartAll, Serial, WorkersOption, Yes, agreed

SIMPLE = (int, float, bool, str)


def task_command(name: str) -> Callable[..., None]:
    """A function whose signature is the task's fields, as typer wants it."""
    kind = task_type(name, Modules())
    roles = {role.name: role for role in kind.roles()}

    def command(**given: Any) -> None:
        _run_one(name, kind, roles, given)

    parameters = [_parameter(field, info, roles.get(field)) for field, info in kind.model_fields.items()]
    parameters += _job_parameters(kind, roles)
    parameters.sort(key=lambda p: p.default is not inspect.Parameter.empty)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = f"{inspect.cleandoc(kind.__doc__ or '')}\n\nExample: {_example(name, kind, roles)}"
    return command


def _job_parameters(kind: type[Task], roles: dict[str, FieldRole]) -> list[inspect.Parameter]:
    work = Annotated[str, typer.Option("--work", help="Work folder; by default ./NAME.work")]
    chunk = Annotated[str, typer.Option("--chunk", help="Chunk size X,Y,Z; by default what fits the memory.")]
    shared: list[tuple[str, Any, Any]] = [("work", work, ""), ("chunk_size", chunk, "")]
    if _makes_layers(roles):
        storage = Annotated[str, typer.Option("--storage", help="Storage chunks of what is made.")]
        encoding = Annotated[
            str,
            typer.Option(
                "--encoding",
                help="How what is made is stored: raw, jpeg, compressed_segmentation or crackle.",
            ),
        ]
        shared += [("storage", storage, "64,64,64"), ("encoding", encoding, "")]
    if "box" not in kind.model_fields:
        shared.append(("box", BoxOption, ""))
    shared += [
        ("workers", WorkersOption, 0),
        ("address", Address, ""),
        ("serial", Serial, False),
        ("restart", RestartAll, False),
        ("yes", Yes, False),
    ]
    return [_keyword(name, annotation, default) for name, annotation, default in shared]


def _makes_layers(roles: dict[str, FieldRole]) -> bool:
    return any(role.output and role.kind in ("image", "labels", "layer") for role in roles.values())


def _keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(name: str, info: FieldInfo, role: FieldRole | None) -> inspect.Parameter:
    required = info.is_required()
    help_text = info.description or ""
    if role is not None and role.many:
        text = f"{help_text}; once for each"
        annotated: Any = Annotated[list[str] | None, typer.Option(f"--{name}", help=text, metavar="LAYER")]
        return _keyword(name, annotated, None)
    if role is not None and not role.output:
        metavar = name.upper()
        argument = Annotated[
            str, typer.Argument(metavar=metavar, help=help_text or f"{role.kind}: path or URL")
        ]
        return _keyword(name, argument) if required else _keyword(name, argument, "")
    flag = f"--{name.replace('_', '-')}"
    if role is not None:
        return _keyword(
            name, Annotated[str, typer.Option(flag, help=help_text or f"where to write {name}")], ""
        )
    kind = _simple(info.annotation)
    if kind is None:
        text = help_text + " (as in YAML)"
        return _keyword(name, Annotated[str, typer.Option(flag, help=text.strip())], "")
    default = inspect.Parameter.empty if required else info.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        default = inspect.Parameter.empty
    return _keyword(name, Annotated[kind, typer.Option(flag, help=help_text)], default)


def _simple(annotation: Any) -> Any:
    """The plain type of a field, or None where only YAML can say it."""
    if annotation in SIMPLE:
        return annotation
    if get_origin(annotation) is Literal:
        return str
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [a for a in get_args(annotation) if a is not type(None)]
        if len(inner) == 1 and inner[0] in SIMPLE and type(None) in get_args(annotation):
            return inner[0] | None
    return None


def _example(name: str, kind: type[Task], roles: dict[str, FieldRole]) -> str:
    """A line to adapt: all that is read, and all that is made where it is not made in the work folder."""
    words = ["chunkflow", name]
    for role in roles.values():
        if role.many:
            words.append(f"--{role.name} /data/{role.name.removesuffix('s')}")
        elif role.output and role.kind != "table":
            words.append(f"--{role.name} /data/{role.name}")
        elif not role.output:
            words.append(f"/data/{role.name}" if role.kind != "table" else f"/data/work/tables/{role.name}")
    for field, info in kind.model_fields.items():
        if info.is_required() and field not in roles:
            words.append(f"--{field.replace('_', '-')} ...")
    return " ".join(words)


def _run_one(name: str, kind: type[Task], roles: dict[str, FieldRole], given: dict[str, Any]) -> None:
    """Build the job of this one task and run it."""
    means = Means(given["workers"], given["address"], given["serial"])
    box = None if "box" in kind.model_fields else parse_box(given["box"])
    try:
        job = _job(name, kind, roles, given)
        cleared = [entry.name for entry in job.tasks if given["restart"]]
        run = Run.of(job, means, box, cleared, lambda what: given["yes"] or agreed(what))
    except BadInput as error:
        if all(given[role.name] for role in roles.values() if role.output and role.kind != "table"):
            raise
        raise BadInput(f"{error} As in: {_example(name, kind, roles)}") from error
    follow(run, Console())


def _job(name: str, kind: type[Task], roles: dict[str, FieldRole], given: dict[str, Any]) -> Job:
    """The job of one task, of what was typed."""
    parameters: dict[str, Any] = {}
    for field, info in kind.model_fields.items():
        value = given[field]
        if field in roles or _simple(info.annotation) is not None:
            if value is not None:
                parameters[field] = value
        elif value:
            parameters[field] = _yaml(f"--{field.replace('_', '-')}", value)
    return job_of_task(
        name,
        parameters,
        given["work"],
        _sizes("--chunk", given["chunk_size"]),
        _sizes("--storage", given.get("storage", "")),
        given.get("encoding", ""),
    )


def _yaml(option: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"{option} takes a value as in YAML, not {text!r}.") from error


def _sizes(option: str, text: str) -> Vec | None:
    if not text:
        return None
    try:
        x, y, z = (int(size) for size in text.replace("x", ",").split(","))
    except ValueError as error:
        raise BadInput(f"{option} takes three sizes in voxels, as in 128,128,64, not {text!r}.") from error
    return x, y, z
