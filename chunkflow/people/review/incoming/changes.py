"""Changes that a file makes to the objects of a table: what it says held against what it was exported from.

1. Each row means an object: by its id, else by its place. A row that means none is a point that was added.
2. What a row says is held against its object as of the export. What differs there was edited in the file.
3. Where others have edited the object since, the file's edits are a conflict, and theirs stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chunkflow.people.review.decisions import ACCEPTED
from chunkflow.people.review.incoming.history import ReviewHistory
from chunkflow.people.review.labels import REJECTED
from chunkflow.people.review.log.edits import DrawnShape, ObjectState
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.shapes import Place, middle_of

MOVED = 0.05
"""Voxels along an axis by which a place is another one: less is what programs round."""
RESTORE, UNDECIDE = "restore", "undecide"
"""What a file may ask for, but the log has no edit for: whoever decided can undo it."""
Document = dict[str, Any]
"""An edit without its key: `operation` and what that needs."""


@dataclass
class Changes:
    """Edits to be appended to the log, by object and in their order, and what cannot be taken."""

    history: ReviewHistory
    begin: str
    """The beginning of the keys of all edits of the file."""
    edits: dict[int, list[ProposedEdit]] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    unchanged: int = 0

    def propose(self, id: int, documents: list[Document], base: int) -> None:
        """Take edits of an object, unless others have edited it behind the edit `base`. Those that are in the
        log already, and those after which nothing would be different, are left out."""
        now = self.history.state(id)
        wanted = [one for one in documents if self._key(id, one) not in self.history.keys]
        together = {one["operation"]: one for one in documents}
        wanted = [one for one in wanted if not _is_so(one, now, together)]
        if not wanted:
            self.unchanged += 1
            return
        newer = [e for e in self.history.edits.get(id, []) if e.seq > base]
        newer = [edit for edit in newer if not edit.key.startswith(self.begin)]
        operations = " and ".join(one["operation"] for one in wanted)
        if newer:
            by = f"{newer[-1].person} ({newer[-1].operation}, edit {newer[-1].seq})"
            self.conflicts.append(f"Object {id} ({operations}) was changed since by {by}.")
        elif now.deleted:
            self.conflicts.append(f"Object {id} ({operations}) is deleted: undo its deletion first.")
        else:
            self._take(id, wanted)

    def has_added(self, id: int) -> bool:
        """Whether an object was added when this file was imported before."""
        return self._key(id, {"operation": "add"}) in self.history.keys

    def add(self, id: int, documents: list[Document]) -> None:
        """Take the edits that add an object."""
        self._take(id, documents)

    def _take(self, id: int, documents: list[Document]) -> None:
        if any(one["operation"] == UNDECIDE for one in documents):
            self.conflicts.append(
                f"Object {id} is decided, and stays so: take the decision back in the review (undo)."
            )
        made = [one for one in documents if one["operation"] != UNDECIDE]
        if made:
            self.edits[id] = [
                ProposedEdit.parse({**one, "object": str(id), "key": self._key(id, one)}) for one in made
            ]

    def _key(self, id: int, document: Document) -> str:
        return f"{self.begin}{id}-{document['operation']}"


def _is_so(document: Document, now: ObjectState, together: Mapping[str, Document]) -> bool:
    """Whether an object is already as an edit would have it; a class that is given together with a rejection
    comes before it."""
    match document["operation"]:
        case "move":
            wanted = middle_of(DrawnShape.model_validate(document["shape"]))
            return now.shape is not None and is_near(middle_of(now.shape), wanted)
        case "delete":
            return now.deleted
        case "note":
            return now.note.strip() == str(document["note"])
        case "reject":
            of_class = together.get("class", {"class": now.of_class})["class"]
            return now.status == REJECTED and now.of_class == str(of_class)
        case "accept":
            return now.status == ACCEPTED
        case "class":
            status = REJECTED if "reject" in together else ACCEPTED
            return now.status == status and now.of_class == str(document["class"])
        case "restore":
            return not now.deleted
        case "undecide":
            return not now.status
    return False


def is_near(one: Place, other: Place) -> bool:
    """Whether two places are the same, but for what programs round."""
    return all(abs(a - b) <= MOVED for a, b in zip(one, other, strict=True))
