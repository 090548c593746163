"""The pages that people write: each command in them is understood, each task has the fields that are shown,
and each picture and page that is linked is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from chunkflow.modules import Modules
from chunkflow.registry import task_type
from cli.main import build

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = [page for page in PAGES if page.name.startswith(("from-", "counting-"))]
PICTURES = sorted((ROOT / "docs" / "pictures").iterdir())
BLOCK = re.compile(r"^(?P<indent> *)```(?P<kind>\w+)\n(?P<text>.*?)^ *```$", re.M | re.S)
INLINE = re.compile(r"`(chunkflow [^`]+)`")
INLINE_TASK = re.compile(r"`- ([^`]+)`")


def blocks(page: Path, kind: str) -> list[str]:
    return [found["text"] for found in BLOCK.finditer(page.read_text("utf-8")) if found["kind"] == kind]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every chunkflow command of a page, in blocks and in lines of text, as its words."""
    for page in PAGES:
        lines = [line for text in blocks(page, "sh") for line in text.splitlines()]
        without = BLOCK.sub("", page.read_text("utf-8"))
        lines += [" ".join(line.split()) for line in INLINE.findall(without) if page in RECIPES]
        for line in lines:
            words = shlex.split(line, comments=True)
            if words and Path(words[0]).name == "chunkflow":
                yield page.name, words[1:]


@pytest.mark.parametrize(("page", "words"), [pytest.param(*c, id=" ".join(c[1])) for c in commands()])
def test_a_command_is_understood(
    page: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its options exist and take what they are given; nothing is run."""
    monkeypatch.chdir(tmp_path)
    for word in words:
        if word.endswith((".yaml", ".csv", ".json")):
            Path(word).parent.mkdir(parents=True, exist_ok=True)
            Path(word).touch()
    group = typer.main.get_command(build(words))
    name, *arguments = words
    assert name in group.commands, f"{page}: there is no command {name}"  # type: ignore[attr-defined]
    if arguments != ["--help"]:
        group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]


def entries() -> Iterator[tuple[str, str, dict[str, object]]]:
    """Every task that a page shows, in YAML or in a line of text."""
    for page in PAGES:
        tasks = [task for text in blocks(page, "yaml") for task in yaml.safe_load(text).get("tasks", [])]
        if page in RECIPES:
            tasks += [yaml.safe_load(text) for text in INLINE_TASK.findall(page.read_text("utf-8"))]
        for task in tasks:
            ((name, fields),) = task.items()
            yield page.name, name, fields


@pytest.mark.parametrize(
    ("page", "name", "fields"), [pytest.param(*entry, id=f"{entry[0]}-{entry[1]}") for entry in entries()]
)
def test_a_task_has_the_fields_that_are_shown(page: str, name: str, fields: dict[str, object]) -> None:
    task_type(name, Modules()).model_validate(fields)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_pictures_are_small_and_shown_somewhere() -> None:
    sizes = {path.name: path.stat().st_size for path in PICTURES}
    assert all(size < 200_000 for size in sizes.values())
    assert sum(sizes.values()) < 1_000_000
    shown = "".join(page.read_text("utf-8") for page in PAGES)
    assert not [name for name in sizes if f"pictures/{name}" not in shown]
