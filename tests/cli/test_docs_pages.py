"""The pages about tasks say what the tasks are."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from chunkflow.modules import Modules
from chunkflow.registry import builtin_tasks, task_type
from chunkflow.task import Image, Labels, Objects, Out, Task
from cli.docs_pages import FOLDER, page, pages, write_pages


class Sample(Task):
    """Do a thing
    to `image`.

    And this is how.
    """

    image: Image
    others: list[Image] = []
    labels: Labels = Field("", description="labels to keep to")
    table: Objects = Out("what | was found")
    rule: Literal["a", "b"] = "a"
    diameter: float = Field(8.0, gt=0, description="micrometres")
    size: tuple[int, int, int] | None = None
    name: str


def test_a_page_says_all_that_the_task_declares() -> None:
    text = page("sample", Sample)
    assert text.startswith("# sample\n\nDo a thing to `image`.\n\nAnd this is how.\n")
    assert "- sample: {image: image, table: table, name: …}" in text
    for row in (
        "| `image` | image |  |",
        "| `others` | list of: image (may be left out) |  |",
        "| `labels` | labels (may be left out) | labels to keep to |",
        "| `table` | table | what \\| was found |",
        "| `rule` | `a` or `b` | `a` |  |",
        "| `diameter` | number, more than 0 | `8` | micrometres |",
        "| `size` | 3 whole numbers |  |  |",
        "| `name` | text | must be given |  |",
    ):
        assert row in text.splitlines()


def test_the_pages_are_up_to_date() -> None:
    """If this fails, run `make docs`."""
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert written == pages()


def test_a_page_of_a_task_that_is_no_more_is_removed(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("old")
    assert {path.name for path in write_pages(tmp_path)} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("name", sorted(builtin_tasks()))
def test_every_task_and_parameter_is_described(name: str) -> None:
    kind = task_type(name, Modules())
    roles = {role.name for role in kind.roles()}
    assert (kind.__doc__ or "").strip().partition("\n")[0]
    silent = [key for key, field in kind.model_fields.items() if key not in roles and not field.description]
    assert silent == []
