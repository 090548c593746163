"""Histories of two people against a model: edits, undo, redo, what was not seen, what is sent twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkflow.people.review.log.edits import Refused, ReviewedObject
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.log.review_log import ReviewLog

PEOPLE = ("ann", "bo")
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(PEOPLE),
        st.sampled_from(("accept", "reject", "note", "delete", "undo", "redo", "again")),
        st.integers(1, 2),
        st.booleans(),
    ),
    max_size=30,
)


class Model:
    """What the log must do, told as simply as it can be: a state is what its standing edits say in turn."""

    def __init__(self) -> None:
        self.standing: dict[int, list[tuple[str, str, str]]] = {1: [], 2: [], 3: []}
        self.changes = {1: 0, 2: 0, 3: 0}
        self.done: dict[str, list[tuple[int, Any]]] = {person: [] for person in PEOPLE}
        self.undone: dict[str, list[tuple[int, Any, list[Any]]]] = {person: [] for person in PEOPLE}

    def state(self, id: int) -> dict[str, Any]:
        state = {"status": "", "note": "", "deleted": False}
        for _, operation, key in self.standing[id]:
            state |= {
                "accept": {"status": "accepted"},
                "reject": {"status": "rejected"},
                "note": {"note": key},
                "delete": {"deleted": True},
            }[operation]
        return state

    def edit(self, person: str, operation: str, id: int, seen: bool, key: str) -> bool:
        if not seen or (self.state(id)["deleted"] and operation != "note"):
            return False
        made = person, operation, key
        self.standing[id].append(made)
        self.done[person].append((id, made))
        self.undone[person].clear()
        self.changes[id] += 1
        return True

    def undo(self, person: str) -> bool:
        if not self.done[person] or self.standing[self.done[person][-1][0]][-1] != self.done[person][-1][1]:
            return False
        id, made = self.done[person].pop()
        self.standing[id].pop()
        self.undone[person].append((id, made, list(self.standing[id])))
        self.changes[id] += 1
        return True

    def redo(self, person: str) -> bool:
        if not self.undone[person] or self.standing[self.undone[person][-1][0]] != self.undone[person][-1][2]:
            return False
        id, made, _ = self.undone[person].pop()
        self.standing[id].append(made)
        self.done[person].append((id, made))
        self.changes[id] += 1
        return True


def told(current: dict[int, ReviewedObject]) -> dict[int, dict[str, Any]]:
    """What the model says of states, too."""
    states = {id: held.state for id, held in current.items()}
    return {id: {"status": s.status, "note": s.note, "deleted": s.deleted} for id, s in states.items()}


def follow(log: ReviewLog, actions: list[tuple[str, str, int, bool]]) -> None:
    table, model = log.table("w", "cells", "1"), Model()
    last: tuple[str, ProposedEdit] | None = None
    kept: dict[int, dict[int, dict[str, Any]]] = {}
    for number, (person, action, id, seen) in enumerate(actions):
        key = f"k{number}"
        if action == "again":
            if last is not None:
                before = log.last()
                log.append(table, *last)
                assert log.last() == before
            continue
        document: dict[str, Any] = {"key": key, "operation": action}
        if action in ("undo", "redo"):
            document |= {"operation": "undo", "redo": action == "redo"}
            taken = model.undo(person) if action == "undo" else model.redo(person)
        else:
            current = log.current(table).get(id)
            is_seen = seen or current is None
            document |= {"object": str(id), "seen": current.seq if current and seen else None}
            document |= {"accept": {"class": ""}, "note": {"note": key}}.get(action, {})
            taken = model.edit(person, action, id, is_seen, key)
        proposed = ProposedEdit.parse(document)
        try:
            log.append(table, person, proposed)
            assert taken, document
            last = person, proposed
        except Refused:
            assert not taken, document
        shown = told(log.current(table))
        assert shown == {n: model.state(n) for n in shown}
        assert {n for n, changes in model.changes.items() if changes} == set(shown)
        kept[log.last()] = shown
    assert log.check() == []
    for seq, shown in kept.items():
        then = {one: held.state for one, held in log.at(table, seq).items()}
        assert {
            n: {"status": s.status, "note": s.note, "deleted": s.deleted} for n, s in then.items()
        } == shown
    assert log.at(table, log.last()) == log.current(table)


def test_two_people_have_the_history_of_the_model(new_place: Callable[[], str]) -> None:
    @settings(
        max_examples=15 if "://" in new_place() else 100,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(actions=ACTIONS)
    def whatever_they_do(actions: list[tuple[str, str, int, bool]]) -> None:
        log = ReviewLog.open(new_place())
        try:
            follow(log, actions)
        finally:
            log.close()

    whatever_they_do()
