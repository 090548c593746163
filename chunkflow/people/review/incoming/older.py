"""What was decided on a table that its job has made anew since: the objects of then, and where they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkflow.data.info import TableInfo
from chunkflow.errors import BadInput
from chunkflow.kernels.precomputed.morton import code_bits, id_voxels
from chunkflow.people.review.decisions import ACCEPTED
from chunkflow.people.review.incoming.file_rows import FileRows
from chunkflow.people.review.live import UNTOUCHED
from chunkflow.people.review.log.edits import Edit, ObjectState, ReviewedObject
from chunkflow.people.review.shapes import Place, middle_of
from chunkflow.words import counted

if TYPE_CHECKING:
    from chunkflow.people.review.log.review_log import ReviewLog

DECIDES = ("accept", "reject", "class", "add")


@dataclass(frozen=True)
class OlderReview:
    """The last review of a table before it was made anew."""

    table: int
    current: Mapping[int, ReviewedObject]
    """The objects of which anything is said."""
    edits: Mapping[int, Sequence[Edit]]
    """Of each object in their order."""
    last: int

    @classmethod
    def of(cls, log: ReviewLog, work: str, name: str, generation: str) -> OlderReview | None:
        """The one of the other generations of a table that was edited last; None where none was."""
        found: list[OlderReview] = []
        for one in log.tables():
            if (one.work, one.name) == (work, name) and one.generation != generation:
                current = {id: held for id, held in log.current(one.id).items() if held.state != UNTOUCHED}
                edits: dict[int, list[Edit]] = {}
                for edit in log.edits(one.id):
                    edits.setdefault(edit.object, []).append(edit)
                last = max((made[-1].seq for made in edits.values()), default=0)
                found += [cls(one.id, current, edits, last)] if current else []
        return max(found, key=lambda one: one.last, default=None)

    def author(self, id: int, operations: Sequence[str]) -> str:
        """Whose the last of such edits of an object was; else, whose the last of all."""
        own = self.edits[id]
        return next((e.person for e in reversed(own) if e.operation in operations), own[-1].person)

    def places(self, info: TableInfo, file: Path | None) -> dict[int, Place]:
        """Where objects were: by the file, by what people drew, and where ids name voxels, by these."""
        found: dict[int, Place] = {}
        if info.connected:
            most = 1 << code_bits(info.volume.size)
            ids = [id for id in self.current if id <= most]
            voxels = id_voxels(np.array(ids, np.uint64), info.volume.size) + np.array(info.volume.start) + 0.5
            found |= {id: (x, y, z) for id, (x, y, z) in zip(ids, voxels.tolist(), strict=True)}
        if file is not None:
            rows = FileRows.read(file, info)
            for id, (x, y, z) in zip(rows.ids.tolist(), rows.places.tolist(), strict=True):
                found[id] = (x, y, z)
        drawn = {id: middle_of(held.state.shape) for id, held in self.current.items() if held.state.shape}
        if file is None and not info.connected and len(drawn) < len(self.current):
            raise BadInput(
                f"The ids of {info.url} do not say where objects were before it was made anew: give an "
                "export of the older table, with ids and places, as `file`."
            )
        return {id: place for id, place in (found | drawn).items() if id in self.current}


def edits_of(state: ObjectState) -> list[dict[str, Any]]:
    """The edits after which another object is as one in this state, but for being added."""
    if state.deleted:
        return [{"operation": "delete"}]
    made: list[dict[str, Any]] = []
    if state.shape is not None and not state.added:
        made.append({"operation": "move", "shape": state.shape.model_dump(mode="json")})
    if state.of_class:
        made.append({"operation": "class", "class": state.of_class})
    if state.status == ACCEPTED and not state.of_class:
        made.append({"operation": "accept", "class": ""})
    elif state.status and state.status != ACCEPTED:
        made.append({"operation": "reject"})
    return made + ([{"operation": "note", "note": state.note}] if state.note else [])


def said_of_older(log: ReviewLog, work: str, name: str, generation: str) -> str:
    """A sentence on decisions that were made before a table was made anew; empty where there are none, or
    where they have been carried over."""
    older = OlderReview.of(log, work, name, generation)
    table = log.find(work, name, generation)
    if older is None or any(e.key.startswith(f"carry-{table}-") for e in (log.edits(table) if table else ())):
        return ""
    return (
        f"{name} was made anew since {counted(len(older.current), 'object')} of it were reviewed: "
        "`chunkflow review carry` takes the decisions over."
    )
