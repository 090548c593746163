"""One page a task in docs/tasks, made from its docstring and its fields by `python -m cli.docs_pages`."""

from __future__ import annotations

import inspect
import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from chunkflow.modules import Modules
from chunkflow.registry import builtin_tasks, task_type
from chunkflow.roles import FieldRole
from chunkflow.task import Task
from cli.main import COMMANDS

FOLDER = Path(__file__).parent.parent / "docs" / "tasks"

_NOUNS = {
    "image": "image",
    "labels": "labels",
    "layer": "image or labels",
    "table": "table",
    "meshes": "folder of meshes",
    "annotations": "folder of annotations",
    "tags": "folder of segment properties",
    "report": "folder for people",
}
_TYPES = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def pages() -> dict[str, str]:
    """All pages, by file name."""
    found = {name: task_type(name, Modules()) for name in builtin_tasks()}
    return {"index.md": _index(found)} | {f"{name}.md": page(name, kind) for name, kind in found.items()}


def page(name: str, kind: type[Task]) -> str:
    """The page of one task."""
    summary, details = _texts(kind)
    roles = {role.name: role for role in kind.roles()}
    inputs = [role for role in roles.values() if not role.output]
    outputs = [role for role in roles.values() if role.output]
    parameters = [field for field in kind.model_fields if field not in roles]
    lines = [f"# {name}", "", summary, ""]
    lines += [details, ""] if details else []
    lines += ["```yaml", "tasks:", f"  - {name}: {{{_example(kind)}}}", "```", ""]
    lines += _table("Reads", "field | what | ", [_layer_row(kind, role) for role in inputs])
    lines += _table("Makes", "field | what | ", [_layer_row(kind, role) for role in outputs])
    rows = [_parameter_row(field, kind.model_fields[field]) for field in parameters]
    lines += _table("Parameters", "field | value | default | ", rows)
    command = "There is a command of this name, too" if name in COMMANDS else "As a command of its own"
    lines += [f"{command}: `chunkflow {name} --help`.", ""]
    return "\n".join(lines)


def write_pages(folder: Path = FOLDER) -> list[Path]:
    """Write the pages, and remove those of tasks that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in made]


def _index(found: dict[str, type[Task]]) -> str:
    rows = [f"| [{name}]({name}.md) | {_texts(kind)[0]} |" for name, kind in found.items()]
    note = "These pages are made from the tasks' docstrings and fields by `make docs`."
    return "\n".join(["# Tasks", "", "| task | what it does |", "|---|---|", *rows, "", note, ""])


def _texts(kind: type[Task]) -> tuple[str, str]:
    """The first sentence of the docstring, and the rest."""
    summary, _, details = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")
    return summary.replace("\n", " "), details.strip()


def _example(kind: type[Task]) -> str:
    """The fields that must be given, and the layers that are made."""
    shown = []
    for role in kind.roles():
        if role.output or kind.model_fields[role.name].is_required():
            shown.append(f"{role.name}: [{role.name}]" if role.many else f"{role.name}: {role.name}")
    named = {role.name for role in kind.roles()}
    for name, field in kind.model_fields.items():
        if name not in named and field.is_required():
            shown.append(f"{name}: …")
    return ", ".join(shown)


def _table(title: str, head: str, rows: list[str]) -> list[str]:
    if not rows:
        return []
    columns = head.count("|") + 1
    return [f"## {title}", "", f"| {head}|", "|" + "---|" * columns, *rows, ""]


def _layer_row(kind: type[Task], role: FieldRole) -> str:
    field = kind.model_fields[role.name]
    noun = ("list of: " if role.many else "") + _NOUNS[role.kind]
    optional = "" if role.output or field.is_required() else " (may be left out)"
    return f"| `{role.name}` | {noun}{optional} | {_cell(field.description or '')} |"


def _parameter_row(name: str, field: FieldInfo) -> str:
    bounds = [
        f"{words} {getattr(rule, key)}"
        for rule in field.metadata
        for key, words in _BOUNDS.items()
        if getattr(rule, key, None) is not None
    ]
    value = _type_words(field.annotation) + (", " + ", ".join(bounds) if bounds else "")
    return f"| `{name}` | {_cell(value)} | {_cell(_default(field))} | {_cell(field.description or '')} |"


def _type_words(annotation: Any) -> str:
    """A type as a user of a job file says it."""
    if annotation is type(None):
        return "nothing"
    if annotation in _TYPES:
        return _TYPES[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_words(part) for part in inner if part is not type(None))
    if origin is tuple and Ellipsis not in inner:
        return f"{len(inner)} {_type_words(inner[0])}s"
    if origin in (tuple, list):
        return f"list of {_type_words(inner[0])}s"
    if origin is dict:
        return f"{_type_words(inner[1])} by name"
    return getattr(annotation, "__name__", str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = (
        field.get_default(call_default_factory=True) if field.default is PydanticUndefined else field.default
    )
    if value is None or value in ("", (), [], {}):
        return ""
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    for path in write_pages():
        sys.stdout.write(f"{path}\n")
