"""Effects of edits on the state of an object, given as the values that its JSON has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chunkflow.people.review.log.edits import ObjectState, Refused
from chunkflow.people.review.log.proposed import ProposedEdit

UNTOUCHED = ObjectState().to_json()
"""The state of an object of which nothing has been said, or all of it is undone."""


def effect_of(proposed: ProposedEdit) -> dict[str, Any]:
    """The fields that an edit sets; an undo sets those of the edit that it takes back."""
    shape = proposed.shape.model_dump(mode="json") if proposed.shape is not None else None
    of_class = proposed.of_class or ""
    effects: dict[str, dict[str, Any]] = {
        "accept": {"status": "accepted", "class": of_class},
        "reject": {"status": "rejected"},
        "class": {"status": "accepted", "class": of_class},
        "add": {"added": True, "deleted": False, "shape": shape, "class": of_class, "status": "accepted"},
        "move": {"shape": shape},
        "delete": {"deleted": True},
        "note": {"note": proposed.note},
    }
    return effects[proposed.operation]


def refuse_senseless(proposed: ProposedEdit, state: Mapping[str, Any]) -> None:
    """Raise Refused for an edit that an object in this state cannot have."""
    if proposed.operation == "add":
        if not state["deleted"] and state != UNTOUCHED:
            raise Refused(f"object {proposed.object} is there already: add another id")
    elif state["deleted"] and proposed.operation != "note":
        raise Refused(f"object {proposed.object} is deleted: add it again, or undo its deletion, first")


def fields_before(state: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a state has now in the fields that an edit sets."""
    return {name: state[name] for name in after}
