"""What each command does, in a sentence, read from its source without importing it: help must be quick."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path


def summary(module: str, name: str) -> str:
    """The first paragraph of the docstring of a function or class."""
    found = _definition(module, name)
    text = (ast.get_docstring(found) or "") if found is not None else ""
    return " ".join(text.partition("\n\n")[0].split())


def unwrapped(text: str) -> str:
    """A docstring whose paragraphs are one line each, to be wrapped to the terminal that shows it."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _definition(module: str, name: str) -> ast.FunctionDef | ast.ClassDef | None:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    for node in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
    return None
