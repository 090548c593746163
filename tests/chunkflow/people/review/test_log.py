"""The log of edits: nothing lost, nothing twice, nothing overwritten unseen; in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from chunkflow.people.database import Database
from chunkflow.people.review.log.edits import Refused
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.log.review_log import ReviewLog

LARGEST = 2**64 - 1


def edit(key: str, operation: str, object: int | None = None, **values: Any) -> ProposedEdit:
    document = {"key": key, "operation": operation, **values}
    if object is not None:
        document["object"] = str(object)
    if operation == "accept":
        document.setdefault("class", "")
    return ProposedEdit.parse(document)


def test_a_table_is_known_by_work_name_and_generation(log: ReviewLog) -> None:
    numbers = [log.table("w", "cells", "1"), log.table("w", "cells", "2"), log.table("v", "cells", "1")]
    assert len(set(numbers)) == 3
    assert log.table("w", "cells", "1") == numbers[0]
    assert [table.generation for table in log.tables()] == ["1", "2", "1"]


@pytest.mark.parametrize("id", [1, 2**53 + 1, 2**63 - 1, 2**63, LARGEST])
def test_ids_of_64_bits_come_back(log: ReviewLog, id: int) -> None:
    table = log.table("w", "cells", "1")
    made = log.append(table, "ann", edit("a", "accept", id))
    assert made.object == id
    assert list(log.current(table)) == [id]
    assert log.edits(table, object=id) == [made]
    assert made.to_json()["object"] == str(id)


def test_a_key_is_written_once(log: ReviewLog) -> None:
    table, other = log.table("w", "cells", "1"), log.table("w", "cells", "2")
    first = log.append(table, "ann", edit("a", "accept", 7))
    assert log.append(table, "ann", edit("a", "accept", 7)) == first
    assert log.append(table, "ann", edit("a", "reject", 8)) == first
    for number, person in ((table, "bo"), (other, "ann")):
        with pytest.raises(Refused, match="the key a is that of another edit"):
            log.append(number, person, edit("a", "accept", 7))
    assert log.last() == 1


def test_what_somebody_has_not_seen_is_not_overwritten(log: ReviewLog) -> None:
    table = log.table("w", "cells", "1")
    first = log.append(table, "ann", edit("a", "class", 7, **{"class": "neuron"}))
    with pytest.raises(Refused, match=r"object 7 was changed by ann \(class\) after you saw it") as refused:
        log.append(table, "bo", edit("b", "reject", 7))
    assert refused.value.by == first
    made = log.append(table, "bo", edit("c", "reject", 7, seen=first.seq))
    assert log.current(table)[7].state.status == "rejected"
    with pytest.raises(Refused, match="no such edit"):
        log.append(table, "bo", edit("d", "reject", 8, seen=made.seq))
    assert (made.before, made.after) == ({"status": "accepted"}, {"status": "rejected"})


def test_undo_and_redo_are_each_persons_own(log: ReviewLog) -> None:
    table = log.table("w", "cells", "1")
    one = log.append(table, "ann", edit("a", "accept", 7))
    log.append(table, "bo", edit("b", "reject", 8))
    undo = log.append(table, "ann", edit("c", "undo"))
    assert (undo.undoes, undo.object, undo.after) == (one.seq, 7, {"status": "", "class": ""})
    assert log.current(table)[8].state.status == "rejected"
    redo = log.append(table, "ann", edit("d", "undo", redo=True))
    assert redo.undoes == undo.seq
    assert log.current(table)[7].state.status == "accepted"
    log.append(table, "ann", edit("e", "undo"))
    log.append(table, "ann", edit("f", "note", 9, note="here"))
    with pytest.raises(Refused, match="nothing to redo"):
        log.append(table, "ann", edit("g", "undo", redo=True))
    assert log.check() == []


def test_an_edit_on_which_others_built_cannot_be_undone(log: ReviewLog) -> None:
    table = log.table("w", "cells", "1")
    one = log.append(table, "ann", edit("a", "accept", 7))
    two = log.append(table, "bo", edit("b", "reject", 7, seen=one.seq))
    with pytest.raises(Refused, match=r"cannot be undone: bo changed it since \(reject\)") as refused:
        log.append(table, "ann", edit("c", "undo"))
    assert refused.value.by == two
    log.append(table, "bo", edit("d", "undo"))
    log.append(table, "ann", edit("e", "undo"))
    log.append(table, "bo", edit("f", "accept", 7, seen=4))
    with pytest.raises(Refused, match=r"cannot be redone: bo changed it since \(accept\)"):
        log.append(table, "ann", edit("g", "undo", redo=True))
    with pytest.raises(Refused, match="edit 1 is undone already"):
        log.append(table, "ann", edit("h", "undo", undoes=1))
    with pytest.raises(Refused, match="edit 2 is none of yours"):
        log.append(table, "ann", edit("i", "undo", undoes=2))
    assert log.check() == []


def test_added_moved_and_deleted_objects(log: ReviewLog) -> None:
    table, id = log.table("w", "cells", "1"), 2**62 + 5
    shape = {"kind": "point", "points": [[1.5, 2.5, 3.0]]}
    log.append(table, "ann", edit("a", "add", id, shape=shape))
    log.append(table, "ann", edit("b", "move", id, seen=1, shape=shape | {"points": [[4, 5, 6]]}))
    with pytest.raises(Refused, match="is there already"):
        log.append(table, "ann", edit("c", "add", id, seen=2, shape=shape))
    log.append(table, "ann", edit("d", "delete", id, seen=2))
    with pytest.raises(Refused, match="is deleted"):
        log.append(table, "ann", edit("e", "accept", id, seen=3))
    state = log.at(table, 2)[id].state
    assert state.shape is not None
    assert (state.added, state.deleted, state.shape.points) == (True, False, ((4.0, 5.0, 6.0),))
    assert log.at(table, 3)[id].state.deleted
    assert log.check() == []


def test_many_writers_at_once_lose_nothing(new_place: Callable[[], str]) -> None:
    place = new_place()
    logs = [ReviewLog.open(place) for _ in range(3)]
    table = logs[0].table("w", "cells", "1")
    with ThreadPoolExecutor(12) as threads:
        futures = [
            threads.submit(logs[n % 3].append, table, f"p{n % 5}", edit(f"k{n}", "accept", n % 40 + 1))
            for n in range(300)
        ]
        made, refused = [], 0
        for future in futures:
            try:
                made.append(future.result())
            except Refused:
                refused += 1
    assert len(made) == 40
    assert refused == 260
    assert [one.seq for one in logs[1].edits(table)] == list(range(1, 41))
    assert logs[2].check() == []
    for log in logs:
        log.close()


def test_the_check_sees_one_state_while_others_write(log: ReviewLog) -> None:
    table = log.table("w", "cells", "1")
    waiting = [log.submit(table, "ann", edit(f"k{n}", "reject", n + 1)) for n in range(600)]
    checks = 0
    while not waiting[-1].done():
        assert log.check() == []
        checks += 1
    assert checks


def test_the_check_finds_what_does_not_follow(log: ReviewLog, new_place: Callable[[], str]) -> None:
    place = new_place()
    damaged = ReviewLog.open(place)
    table = damaged.table("w", "cells", "1")
    damaged.append(table, "ann", edit("a", "accept", 7))
    damaged.append(table, "ann", edit("b", "reject", 8))
    database = Database.open(place)
    for change, said in (
        ("UPDATE objects SET seq = 9 WHERE object = 7", "What is kept of object 7 of table 1"),
        ("DELETE FROM objects WHERE object = 8", "Nothing is kept of object 8"),
        ('UPDATE edits SET before = \'{"status":"accepted"}\' WHERE seq = 2', "Edit 2 does not follow"),
        ("DELETE FROM edits WHERE seq = 1", "The log has no edit 1"),
    ):
        with database.write() as connection:
            connection.execute(sa.text(change))
        assert any(said in fault for fault in damaged.check()), said
    database.close()
    damaged.close()
