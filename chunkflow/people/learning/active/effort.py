"""The time that people spent on decisions, as far as the log tells."""

from __future__ import annotations

from collections.abc import Iterable

from chunkflow.people.review.log.edits import Edit

LONGEST = 60.0
"""Seconds: whoever decides nothing for longer does something else, and counts for so long."""


def minutes_of(edits: Iterable[Edit]) -> float:
    """The minutes between the edits of each person, all people added up."""
    last: dict[str, Edit] = {}
    seconds = 0.0
    for edit in edits:
        before = last.get(edit.person)
        gap = (edit.at - before.at).total_seconds() if before else LONGEST
        seconds += min(max(gap, 0.0), LONGEST)
        last[edit.person] = edit
    return round(seconds / 60, 2)
