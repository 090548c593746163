"""A place that a cluster can be made at, from one file: what every provider does with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from chunkflow.data.documents import first_fault
from chunkflow.errors import BadInput

Say = Callable[[str], None]
"""Where lines for the user go."""


class ClusterPlace(Protocol):
    """A cluster that a file describes."""

    def up(self, agree: Callable[[str], bool], say: Say) -> None:
        """Start it, or find that it is up, and say its address; `agree` is asked before anything is paid for
        or holds a node."""

    def status(self) -> list[str]:
        """What there is of it, in lines; changes nothing."""

    def down(self, say: Say) -> int:
        """End it; returns the number of things that remain and still hold nodes or cost money."""


class ClusterFile(BaseModel):
    """What the files of all providers have in common: unknown keys are refused, with one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def from_document(cls, document: dict[str, object], path: Path) -> Self:
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise BadInput(f"{path}: {first_fault(error, cls)}") from error
