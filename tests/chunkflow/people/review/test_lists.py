"""Lists of objects, and objects that people disagree on; in both databases."""

from __future__ import annotations

from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.log.review_log import ReviewLog

LARGEST = 2**64 - 1


def test_a_list_keeps_its_order_until_it_is_put_anew(log: ReviewLog) -> None:
    table, other = log.table("w", "cells", "1"), log.table("w", "cells", "2")
    log.lists.put(table, "odd", [LARGEST, 3, 2**63])
    log.lists.put(table, "bright", [5])
    log.lists.put(other, "odd", [4])
    assert log.lists.names(table) == ["bright", "odd"]
    assert log.lists.ids(table, "odd") == [LARGEST, 3, 2**63]
    log.lists.put(table, "odd", [7])
    assert (log.lists.ids(table, "odd"), log.lists.ids(other, "odd")) == ([7], [4])
    log.lists.put(table, "odd", [])
    assert (log.lists.names(table), log.lists.ids(table, "odd")) == (["bright"], None)


def test_the_last_decisions_of_people_are_compared(log: ReviewLog) -> None:
    table, other = log.table("w", "cells", "1"), log.table("w", "cells", "2")
    seen: dict[tuple[int, int], int] = {}

    def say(person: str, operation: str, object: int, of_class: str = "", at: int = table) -> None:
        key = f"k{log.last()}"
        document = {"key": key, "operation": operation, "object": str(object), "seen": seen.get((at, object))}
        if operation != "reject":
            document["class"] = of_class
        seen[at, object] = log.append(at, person, ProposedEdit.parse(document)).seq

    for id in (LARGEST, 1, 2, 3):
        say("ann", "class", id, "glia")
    say("bo", "class", LARGEST, "neuron")
    say("bo", "accept", 1, "glia")
    say("bo", "reject", 2)
    say("ann", "reject", 3)
    say("bo", "class", 3, "glia", at=other)
    assert log.lists.disagreed(table) == [2, LARGEST]
    say("ann", "reject", 2)
    assert log.lists.disagreed(table) == [LARGEST]
    say("bo", "reject", 1)
    assert log.lists.disagreed(table) == [1, LARGEST]
    log.append(table, "bo", ProposedEdit.parse({"key": "undo", "operation": "undo"}))
    assert log.lists.disagreed(table) == [LARGEST]
    assert log.lists.disagreed(other) == []
