"""Segment of a ledger's chain: a numbered file of records, with its checksum."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from chunkflow.data.checksums import seal, unseal
from chunkflow.engine.ledger.writer import Writer
from chunkflow.errors import DamagedInput

SegmentKind = Literal["taken", "records", "closed"]
Record = dict[str, Any]
_LOST: Record = {"kind": "lost"}


@dataclass(frozen=True)
class LedgerSegment:
    """Link of the chain: a numbered file of records."""

    number: int
    kind: SegmentKind
    writer: Writer
    at: float  # by the writer's clock, for people to read
    heartbeat: float  # how often this writer promises a segment, in seconds
    records: list[Record]

    @staticmethod
    def lost(number: int) -> LedgerSegment:
        """A segment that stands for one that is lost, or cannot be read."""
        return LedgerSegment(number, "records", Writer("", "", 0, "", 0, 0.0), 0.0, 5.0, [_LOST])

    @property
    def is_lost(self) -> bool:
        """Whether what it told is not known."""
        return self.records == [_LOST]

    def encode(self) -> bytes:
        body = {
            "number": self.number,
            "kind": self.kind,
            "writer": vars(self.writer),
            "at": self.at,
            "heartbeat": self.heartbeat,
            "records": self.records,
        }
        return seal(json.dumps(body, separators=(",", ":")).encode())

    @staticmethod
    def decode(data: bytes, place: str) -> LedgerSegment:
        """The segment that a file holds; raises DamagedInput, which names the file, where it holds none."""
        try:
            body = json.loads(unseal(data, place))
            return LedgerSegment(**{**body, "writer": Writer(**body["writer"])})
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedInput(f"{place} is damaged: {error}") from error
