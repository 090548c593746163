"""The tables of databases as the documentation has them: each one, with all its columns in their order."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from chunkflow.people.accounts import schema as accounts
from chunkflow.people.review.log import schema as log
from tests.support.commands import ROOT

LINE = re.compile(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+|as above) \|", re.M)
OF_EDITS = re.compile(r"^\| column of `edits` \| what \|\n\|---\|---\|\n((?:\|.*\n)+)", re.M)


def documented(page: str) -> dict[str, list[str]]:
    """The columns of each table that a page has a line for."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    found = {name: re.findall(r"`(\w+)`", columns) for name, columns in LINE.findall(text)}
    if listed := OF_EDITS.search(text):
        firsts = (line.split("|")[1] for line in listed[1].splitlines())
        found["edits"] = [column for first in firsts for column in re.findall(r"`(\w+)`", first)]
    return found


@pytest.mark.parametrize(("page", "metadata"), [("serve.md", accounts.METADATA), ("review.md", log.METADATA)])
def test_each_table_is_documented_with_its_columns(page: str, metadata: sa.MetaData) -> None:
    there = {table.name: [column.name for column in table.columns] for table in metadata.tables.values()}
    assert documented(page) == there
