"""What is said of the objects of a table: their state, and the edits that change it. No database here.

An id is an unsigned number of 64 bits in Python and a decimal text in JSON, as JavaScript cannot hold it; a
database stores it as the signed number of the same bits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chunkflow.errors import ChunkflowError

Operation = Literal["accept", "reject", "class", "add", "move", "delete", "note", "undo"]
ReviewStatus = Literal["", "accepted", "rejected"]
Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]

_POINTS = {"point": 1, "line": 2, "box": 2, "ellipsoid": 2}
_MOST_POINTS = 10_000
_JSON_NAMES = {"of_class": "class"}


class Refused(ChunkflowError):
    """An edit that the log does not take: it would undo what its author has not seen, or makes no sense."""

    def __init__(self, sentence: str, by: Edit | None = None) -> None:
        super().__init__(sentence)
        self.by = by
        """The edit that stands in the way, where one does."""


class DrawnShape(BaseModel):
    """Where an object is, in voxels of the layer of its table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["point", "line", "box", "ellipsoid", "polygon"]
    points: tuple[tuple[Coordinate, Coordinate, Coordinate], ...] = Field(max_length=_MOST_POINTS)
    """A point; the ends of a line; two corners of a box; centre and radii of an ellipsoid; corners of a
    polygon, which lie in one plane."""

    @model_validator(mode="after")
    def _check_points(self) -> DrawnShape:
        wanted = _POINTS.get(self.kind)
        if wanted is not None and len(self.points) != wanted:
            raise ValueError(f"a {self.kind} must have {wanted} point{'s' * (wanted > 1)}")
        if self.kind == "polygon" and len(self.points) < 3:
            raise ValueError("a polygon must have at least 3 points")
        if self.kind == "polygon" and len({z for _, _, z in self.points}) > 1:
            raise ValueError("a polygon must lie in one plane: all its points have the same z")
        return self


@dataclass(frozen=True)
class ObjectState:
    """What people have said of an object; by default nothing, so that all is as the table has it."""

    status: ReviewStatus = ""
    of_class: str = ""
    shape: DrawnShape | None = None
    note: str = ""
    added: bool = False
    deleted: bool = False

    def to_json(self) -> dict[str, Any]:
        values = {
            _JSON_NAMES.get(field.name, field.name): getattr(self, field.name) for field in fields(self)
        }
        return values | {"shape": self.shape.model_dump(mode="json") if self.shape is not None else None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ObjectState:
        shape = DrawnShape.model_validate(values["shape"]) if values["shape"] is not None else None
        return cls(
            values["status"], values["class"], shape, values["note"], values["added"], values["deleted"]
        )


@dataclass(frozen=True)
class Edit:
    """A row of the log. `before` and `after` hold the fields of the object's state that it sets."""

    seq: int
    key: str
    table: int
    object: int
    person: str
    at: datetime
    operation: Operation
    before: dict[str, Any]
    after: dict[str, Any]
    undoes: int | None = None
    seen: int | None = None

    def to_json(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"object": str(self.object), "at": self.at.isoformat()}

    def to_row(self) -> dict[str, Any]:
        """The values of its row in the database."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["table"]
        return values | {
            "table_id": self.table,
            "object": signed(self.object),
            "at": time_text(self.at),
            "before": json_text(self.before),
            "after": json_text(self.after),
        }

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> Edit:
        return cls(
            row["seq"],
            row["key"],
            row["table_id"],
            unsigned(row["object"]),
            row["person"],
            datetime.fromisoformat(row["at"]),
            row["operation"],
            json.loads(row["before"]),
            json.loads(row["after"]),
            row["undoes"],
            row["seen"],
        )


@dataclass(frozen=True)
class ReviewedObject:
    """What is current of an object: its state, and its last edit, undos included."""

    seq: int
    state: ObjectState
    person: str
    at: datetime

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> ReviewedObject:
        state = ObjectState.from_json(json.loads(row["state"]))
        return cls(row["seq"], state, row["person"], datetime.fromisoformat(row["at"]))


@dataclass(frozen=True)
class ReviewedTable:
    """A table whose objects are reviewed."""

    id: int
    work: str
    name: str
    generation: str


def signed(id: int) -> int:
    """The signed number of 64 bits that stands for an id in a database."""
    return id - 2**64 if id >= 2**63 else id


def unsigned(number: int) -> int:
    """The id for which a database has a signed number."""
    return number + 2**64 if number < 0 else number


def time_text(at: datetime) -> str:
    """A time in UTC as a text that sorts as times do."""
    return at.isoformat(timespec="microseconds")


def json_text(values: Mapping[str, Any]) -> str:
    """Values as JSON for a database: ASCII only, and the same text for the same values."""
    return json.dumps(values, allow_nan=False, separators=(",", ":"), sort_keys=True)
