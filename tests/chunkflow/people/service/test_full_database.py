"""A database that fills up while the service takes edits: none is half-written, and none is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chunkflow.people import database
from chunkflow.people.service.local.reviewer import Reviewer, review
from tests.support.people.reviews import asked, sent

LONG = "n" * 10_000
ROOM = 2**30
"""More pages than any test needs."""


class FillableDisk:
    """How many pages databases may have that are opened meanwhile."""

    pages = ROOM


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FillableDisk:
    disk, begin = FillableDisk(), database._begin

    def begin_within(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {disk.pages}")
        begin(connection)

    monkeypatch.setattr(database, "_begin", begin_within)
    return disk


@pytest.fixture
def page(disk: FillableDisk, reviewed_work: str, tmp_path: Path) -> Iterator[Reviewer]:
    with review(reviewed_work, database=tmp_path / "review.sqlite", person="ann") as page:
        yield page


def test_edits_are_unanswered_while_there_is_no_room_and_taken_after(
    page: Reviewer, disk: FillableDisk
) -> None:
    notes = [
        {"key": f"k{number}", "operation": "note", "object": str(id), "note": LONG}
        for number, id in enumerate(page._live.objects.ids[:40].tolist())
    ]
    assert sent(page, **notes[0])[0] == 200
    with page._live.log._database.read() as connection:
        disk.pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one() + 30
    answers: list[tuple[int, dict[str, Any]]] = [sent(page, **edit) for edit in notes]
    taken = [edit for edit, (status, _) in zip(notes, answers, strict=True) if status == 200]
    refused = [answer for status, answer in answers if status == 503]
    assert len(taken) + len(refused) == len(notes)
    assert 1 < len(taken) < len(notes)
    assert all("There is no room for" in answer["error"] for answer in refused)
    assert asked(page, "table")["counts"]["objects"] == len(page._live.objects)
    log, table = page._live.log, page._live.table
    assert [edit.key for edit in log.edits(table)] == [edit["key"] for edit in taken]
    assert log.check() == []
    disk.pages = ROOM
    assert [sent(page, **edit)[0] for edit in notes] == [200] * len(notes)
    edits = log.edits(table)
    assert {edit.key for edit in edits} == {edit["key"] for edit in notes}
    assert [edit.seq for edit in edits] == list(range(1, len(notes) + 1))
    assert log.check() == []
