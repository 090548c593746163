"""Edits as a page proposes them, in JSON: checked in full before they reach the log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from chunkflow.data.documents import first_fault
from chunkflow.errors import BadInput
from chunkflow.people.review.log.edits import DrawnShape, Operation

UNPRINTABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
MOST_IN_CLASS, _MOST_IN_NOTE = 200, 10_000
_NEEDS: dict[str, set[str]] = {
    "accept": {"object", "of_class"},
    "reject": {"object"},
    "class": {"object", "of_class"},
    "add": {"object", "shape"},
    "move": {"object", "shape"},
    "delete": {"object"},
    "note": {"object", "note"},
    "undo": set(),
}
_MAY_HAVE: dict[str, set[str]] = {"add": {"of_class"}, "undo": {"object", "undoes", "redo"}}
_OF_ALL = {"key", "operation", "seen"}


def _parse_id(value: object) -> object:
    """An id from its decimal text, or as it is where it is a number already; else a ValueError."""
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,19}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**64:
        raise ValueError("must be a whole number from 1 to 2^64 - 1")
    return value


Id = Annotated[int, BeforeValidator(_parse_id)]
Seq = Annotated[int, Field(strict=True, gt=0, lt=2**63)]


class ProposedEdit(BaseModel):
    """An edit that someone asks for. Each operation takes exactly the fields that it needs."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    key: str = Field(pattern=r"\A[A-Za-z0-9_-]{1,64}\z")
    operation: Operation
    object: Id | None = None
    seen: Seq | None = None
    of_class: str | None = Field(default=None, alias="class", max_length=MOST_IN_CLASS)
    shape: DrawnShape | None = None
    note: str | None = Field(default=None, max_length=_MOST_IN_NOTE)
    undoes: Seq | None = None
    redo: bool = Field(default=False, strict=True)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> ProposedEdit:
        """The edit that a document, as read from JSON, asks for; BadInput says what is wrong with it."""
        try:
            return cls.model_validate(document, by_alias=True, by_name=False)
        except ValidationError as error:
            raise BadInput(f"This edit cannot be taken: {first_fault(error, cls)}") from error

    @model_validator(mode="after")
    def _check_fields(self) -> ProposedEdit:
        given = {name for name in self.model_fields_set if getattr(self, name) is not None} - _OF_ALL
        needed = _NEEDS[self.operation]
        allowed = needed | _MAY_HAVE.get(self.operation, set())
        if missing := sorted(needed - given):
            raise ValueError(f"{self.operation} needs {_json_name(missing[0])}")
        if more := sorted(given - allowed):
            raise ValueError(f"{self.operation} takes no {_json_name(more[0])}")
        if self.operation == "class" and not self.of_class:
            raise ValueError("class needs the name of a class, which is not empty")
        if UNPRINTABLE.search(self.of_class or "") or _UNWRITABLE.search(self.note or ""):
            raise ValueError("the class and the note must be text without control characters")
        return self


def _json_name(field: str) -> str:
    return "class" if field == "of_class" else field
