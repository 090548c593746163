"""The house keeps its measures: folders that one can take in, short files, short functions."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("chunkflow", "tasks", "cluster", "cli", "tests", "testbed", "benchmarks")
FILES = sorted(
    file
    for room in ROOMS
    for file in (ROOT / room).rglob("*.py")
    if "data" not in file.relative_to(ROOT).parts[1:2]
)
PACKAGES = ("chunkflow", "tasks", "cluster", "cli")
FOLDERS = sorted({file.parent for file in FILES})


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_a_folder_holds_3_to_15_files(folder: Path) -> None:
    files = [file for file in folder.glob("*.py") if file.name != "__init__.py"]
    fewest = 0 if any(child in FOLDERS for child in folder.iterdir()) else 2  # beside its __init__
    assert fewest <= len(files) <= 15


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_a_prefix_that_four_files_share_is_a_folder(folder: Path) -> None:
    stems = (file.stem.removeprefix("test_") for file in folder.glob("*.py"))
    prefixes = Counter(stem.partition("_")[0] for stem in stems if not stem.startswith("__"))
    assert [prefix for prefix, count in prefixes.items() if count >= 4] == []


@pytest.mark.parametrize("file", FILES, ids=name)
def test_files_and_functions_are_short(file: Path) -> None:
    text = file.read_text("utf-8")
    assert text.count("\n") <= 300
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= 50
    ]
    assert long == []


@pytest.mark.parametrize("room", ["chunkflow", "tasks"])
def test_the_library_names_no_options_of_commands(room: str) -> None:
    """A notebook has none: there they are parameters."""
    texts = {file: file.read_text("utf-8") for file in FILES if file.is_relative_to(ROOT / room)}
    assert [name(file) for file, text in texts.items() if re.search(r"--[a-z]", text)] == []


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if "tests" not in folder.parts], ids=name)
def test_a_package_says_in_one_sentence_what_it_holds(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
    assert text
    assert len(text.splitlines()[0]) <= 110


def test_a_class_has_a_name_of_its_own() -> None:
    """Nor may a type alias bear the name of a class; aliases of one array type may recur."""
    classes: dict[str, list[str]] = {}
    aliases: dict[str, list[str]] = {}
    for file in (file for file in FILES if file.relative_to(ROOT).parts[0] in PACKAGES):
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(name(file))
            elif alias := alias_of(node):
                aliases.setdefault(alias, []).append(name(file))
    for public in ("Job", "Work"):  # which extend the class of the same name
        classes[public].remove("chunkflow/api.py")
    twice = {known: places for known, places in classes.items() if len(places) > 1}
    both = {known: [*classes[known], *aliases[known]] for known in classes.keys() & aliases.keys()}
    assert (twice, both) == ({}, {})


def alias_of(node: ast.AST) -> str:
    """The name that an assignment gives to a type; constants and type variables give none."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return ""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    known = target.id if isinstance(target, ast.Name) else ""
    return known if known[:1].isupper() and not known.isupper() else ""


@pytest.mark.parametrize(
    ("room", "others"),
    [("tests", {"benchmarks"}), ("testbed", {"tests", "benchmarks"}), ("benchmarks", {"tests"})],
)
def test_tests_and_benchmarks_do_not_import_each_other(room: str, others: set[str]) -> None:
    imported = {
        (name(file), module.partition(".")[0])
        for file in FILES
        if file.relative_to(ROOT).parts[0] == room
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        for module in imports_of(node)
    }
    assert [(file, other) for file, other in sorted(imported) if other in others] == []


def imports_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
