"""Every task as a command of its own: a job of one task, from the task's own declaration.

The command's parameters are the task's fields: what it reads are arguments, what it writes and its parameters
are options. Layers are given by their paths or URLs.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Console

from chunkflow.describe import open_plan
from chunkflow.job import Job
from chunkflow.task import FieldRole, Task
from cli.builtin import task_type
from cli.options import Address, Restart, Serial, Workers, Yes
from cli.running import Means, run_plan

SIMPLE = (int, float, bool, str)


def add_task_commands(app: typer.Typer, kinds: dict[str, type[Task]], taken: set[str]) -> None:
    for name, kind in kinds.items():
        if name not in taken:
            command = _command(name, kind)
            app.command(name, rich_help_panel="Tasks, one at a time")(command)


def _command(name: str, kind: type[Task]) -> Callable[..., None]:
    """A function whose signature is the task's fields, as typer wants it."""
    roles = {role.name: role for role in kind.roles()}

    def command(**given: Any) -> None:
        _run_one(name, kind, roles, given)

    parameters = [_parameter(field, info, roles.get(field)) for field, info in kind.model_fields.items()]
    parameters += _job_parameters()
    parameters.sort(key=lambda p: p.default is not inspect.Parameter.empty)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = f"{inspect.cleandoc(kind.__doc__ or '')}\n\nExample: {_example(name, kind, roles)}"
    return command


def _job_parameters() -> list[inspect.Parameter]:
    work = Annotated[str, typer.Option("--work", help="Work folder; by default ./NAME.work")]
    chunk = Annotated[str, typer.Option("--chunk", help="Chunk size X,Y,Z; by default what fits the memory.")]
    storage = Annotated[str, typer.Option("--storage", help="Storage chunks of what is made.")]
    shared: list[tuple[str, Any, Any]] = [
        ("work", work, ""),
        ("chunk_size", chunk, ""),
        ("storage", storage, "64,64,64"),
        ("workers", Workers, 0),
        ("address", Address, ""),
        ("serial", Serial, False),
        ("restart", Restart, ""),
        ("yes", Yes, False),
    ]
    return [_keyword(name, annotation, default) for name, annotation, default in shared]


def _keyword(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(name: str, info: FieldInfo, role: FieldRole | None) -> inspect.Parameter:
    required = info.is_required()
    help_text = info.description or ""
    if role is not None and not role.output:
        metavar = name.upper()
        if role.many:
            annotated: Any = Annotated[list[str] | None, typer.Option(f"--{name}", help=help_text)]
            return _keyword(name, annotated, None)
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
    inputs = [f"/data/{role.name}" for role in roles.values() if not role.output and not role.many]
    outputs = [
        f"--{role.name} /data/{role.name}" for role in roles.values() if role.output and role.kind != "table"
    ]
    needed = [
        f"--{field.replace('_', '-')} ..."
        for field, info in kind.model_fields.items()
        if info.is_required() and field not in roles
    ]
    return " ".join(["chunkflow", name, *inputs, *outputs, *needed])


def _run_one(name: str, kind: type[Task], roles: dict[str, FieldRole], given: dict[str, Any]) -> None:
    """Build the job of this one task and run it."""
    layers: dict[str, str] = {}
    parameters: dict[str, Any] = {}
    for field, info in kind.model_fields.items():
        value = given[field]
        role = roles.get(field)
        if role is not None:
            named = [_named(layers, role, v) for v in (value if role.many else [value]) if v] if value else []
            if named:
                parameters[field] = named if role.many else named[0]
        elif value is not None and not (value == "" and _simple(info.annotation) is None):
            parameters[field] = yaml.safe_load(value) if _simple(info.annotation) is None else value
    document: dict[str, Any] = {
        "job": name,
        "work": given["work"] or f"./{name}.work",
        "storage": _sizes(given["storage"]),
        "layers": layers,
        "tasks": [{name: parameters}],
    }
    if given["chunk_size"]:
        document["chunk"] = _sizes(given["chunk_size"])
    job = Job.from_document(document, task_type, Path.cwd())
    means = Means(given["workers"], given["address"], given["serial"])
    plan = open_plan(job, None, means.local_workers)

    def agree(what: str) -> bool:
        return given["yes"] or typer.confirm(f"This deletes what was made ({what}). Go on?", err=True)

    run_plan(plan, means, Path.cwd(), Console(), given["restart"], agree)


def _named(layers: dict[str, str], role: FieldRole, location: str) -> str:
    """Give a layer that came as a path or URL (perhaps with @mip) a name in the job."""
    url, at, mip = location.rpartition("@")
    if not at or not mip.isdigit():
        url, mip = location, ""
    base = url.rstrip("/").rsplit("/", 1)[-1] or role.name
    name = "".join(c if c.isalnum() or c in "_-" else "_" for c in base).strip("_-") or role.name
    while name in layers and layers[name] != url:
        name += "_"
    layers[name] = url
    return f"{name}@{mip}" if mip else name


def _sizes(text: str) -> Any:
    return yaml.safe_load(f"[{text}]")
