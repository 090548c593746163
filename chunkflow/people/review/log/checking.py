"""What is current, rebuilt from the log and compared with what is kept beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chunkflow.people.review.log.edits import Edit, unsigned
from chunkflow.people.review.log.effects import UNTOUCHED

Row = Mapping[Any, Any]
Key = tuple[int, int]
"""The number of a table, and an object."""


@dataclass
class Rebuilt:
    """The state of all objects after some edits of the log."""

    states: dict[Key, dict[str, Any]] = field(default_factory=dict)
    last: dict[Key, int] = field(default_factory=dict)
    standing: dict[Key, list[int]] = field(default_factory=dict)
    """Of each object the edits that are not undone, in their order."""
    undone: dict[int, int] = field(default_factory=dict)
    """The edits that are undone, and the undo of each."""
    faults: list[str] = field(default_factory=list)

    def take(self, edit: Edit, edits: Mapping[int, Edit]) -> None:
        """Go on by one edit."""
        key = edit.table, edit.object
        state = self.states.get(key, dict(UNTOUCHED))
        if {name: state[name] for name in edit.after} != edit.before:
            self.faults.append(
                f"Edit {edit.seq} does not follow from the edits of object {edit.object} before."
            )
        if edit.seen != self.last.get(key):
            self.faults.append(f"Edit {edit.seq} was made by someone who had not seen the last one.")
        self.states[key], self.last[key] = state | edit.after, edit.seq
        standing = self.standing.setdefault(key, [])
        undoes = edits.get(edit.undoes) if edit.undoes is not None else None
        if edit.operation != "undo":
            standing.append(edit.seq)
        elif undoes is None or undoes.seq > edit.seq or (undoes.table, undoes.object) != key:
            self.faults.append(f"Edit {edit.seq} undoes one that is not there.")
        elif undoes.operation == "undo":  # a redo
            redone = next((seq for seq, by in self.undone.items() if by == undoes.seq), None)
            if redone is None:
                self.faults.append(f"Edit {edit.seq} redoes what is not undone.")
            else:
                del self.undone[redone]
                standing.append(redone)
        elif undoes.seq not in standing:
            self.faults.append(f"Edit {edit.seq} undoes what is undone already.")
        else:
            standing.remove(undoes.seq)
            self.undone[undoes.seq] = edit.seq


def faults_of(edits: Sequence[Edit], objects: Iterable[Row], undone: Iterable[Row]) -> list[str]:
    """Sentences on gaps in the log, on edits that do not follow, and on what is kept wrongly."""
    rebuilt = Rebuilt()
    by_number = {edit.seq: edit for edit in edits}
    for number, edit in enumerate(edits, start=1):
        if edit.seq != number:
            rebuilt.faults.append(f"The log has no edit {number}.")
            break
        rebuilt.take(edit, by_number)
    faults, seen = rebuilt.faults, set()
    for row in objects:
        key = row["table_id"], unsigned(row["object"])
        seen.add(key)
        standing: list[int | None] = [None, *rebuilt.standing.get(key, ())]
        kept = json.loads(row["state"]), row["seq"], row["top"]
        if kept != (rebuilt.states.get(key), rebuilt.last.get(key), standing[-1]):
            faults.append(f"What is kept of object {key[1]} of table {key[0]} does not follow from the log.")
    faults += [
        f"Nothing is kept of object {id} of table {table}."
        for table, id in sorted(rebuilt.states.keys() - seen)
    ]
    if {row["edit"]: row["by"] for row in undone} != rebuilt.undone:
        faults.append("What is kept of undone edits does not follow from the log.")
    return faults
