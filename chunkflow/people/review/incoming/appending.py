"""Many edits appended to a log at once, those of one object one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from chunkflow.people.review.incoming.changes import Changes
from chunkflow.people.review.log.edits import Refused
from chunkflow.people.review.log.proposed import ProposedEdit

if TYPE_CHECKING:
    from chunkflow.people.review.log.review_log import ReviewLog

WORDS = {
    "accept": "accepted",
    "reject": "rejected",
    "class": "classes",
    "move": "moved",
    "add": "added",
    "delete": "deleted",
    "note": "notes",
}
"""What counts are called, by the operation of the edits."""


def append_edits(
    log: ReviewLog, table: int, author: Callable[[ProposedEdit], str], changes: Changes
) -> dict[str, int]:
    """Append the edits of changes, each as its author's, and count them. What somebody else edits meanwhile
    is a conflict, and with it all later edits of the same object."""
    last = {id: changes.history.last(id) for id in changes.edits}
    left: dict[int, list[ProposedEdit]] = dict(changes.edits)
    taken: Counter[str] = Counter()
    while left:
        asked = {
            id: log.submit(table, author(waiting[0]), waiting[0].model_copy(update={"seen": last[id]}))
            for id, waiting in left.items()
        }
        for id, answer in asked.items():
            try:
                made = answer.result()
            except Refused as error:
                changes.conflicts.append(f"{str(error)[:1].upper()}{str(error)[1:]}.")
                del left[id]
                continue
            taken[made.operation] += 1
            last[id] = made.seq
        left = {id: waiting[1:] for id, waiting in left.items() if len(waiting) > 1}
    return _named(taken)


def counts_of(edits: Mapping[int, Sequence[ProposedEdit]]) -> dict[str, int]:
    """How many edits there are by what they do."""
    return _named(Counter(edit.operation for made in edits.values() for edit in made))


def _named(counts: Counter[str]) -> dict[str, int]:
    return {word: counts[operation] for operation, word in WORDS.items()}
