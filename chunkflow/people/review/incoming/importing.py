"""Edits that were made elsewhere, brought into the log: a file is held against what it was exported from."""

from __future__ import annotations

import getpass
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chunkflow.errors import BadInput
from chunkflow.people.review.incoming.appending import append_edits, counts_of
from chunkflow.people.review.incoming.changes import Changes
from chunkflow.people.review.incoming.differences import RowDifference
from chunkflow.people.review.incoming.file_rows import NO_ID, FileRows
from chunkflow.people.review.incoming.history import ReviewHistory
from chunkflow.people.review.incoming.identified import IdentifiedRows
from chunkflow.people.review.live import OWN_ID
from chunkflow.people.review.reviewing import ReviewPlace, open_log

if TYPE_CHECKING:
    from chunkflow.people.review.log.review_log import ReviewLog


@dataclass(frozen=True, repr=False)
class ImportedReview:
    """What a file has changed in a review, or would change."""

    path: Path
    name: str
    """The table that is reviewed."""
    counts: dict[str, int]
    """How many objects were accepted, rejected, given other `classes`, moved, added, deleted and given other
    `notes`; how many of those in the file are unchanged; how many conflicts there are."""
    conflicts: tuple[str, ...]
    """Sentences on what was not taken over, as the object was edited since, or no edit can do it."""
    written: bool
    """Whether it is in the log: False for a dry run."""

    def __repr__(self) -> str:
        said = [f"{count:,} {word}" for word, count in self.counts.items() if count]
        done = "Imported" if self.written else "Would import"
        return f"{done} {self.path} into the review of {self.name}: {', '.join(said) or 'nothing'}."


def import_review(
    place: str | Path,
    file: str | Path,
    *,
    database: str | Path = "",
    person: str = "",
    edit: int | None = None,
    tolerance_um: float | None = None,
    columns: Sequence[str] = (),
    unit: str = "",
    dry_run: bool = False,
) -> ImportedReview:
    """Bring edits that were made in a file into the log of a review, as the difference to what was exported.

    `place` is WORK:TABLE, or WORK for the last table of its job. `file` is one that `export_review` wrote, or
    points of Neuroglancer, napari or cellfinder, or another table (`columns` and `unit` as in
    `import_points`). Rows mean objects by their ids, else by their places, within `tolerance_um` (by default
    half the diameter of objects), one to one, the nearest first. Rows that mean none are added. Other places
    (by more than a twentieth of a voxel), classes, and entries of `status` and `note` are edits. The status
    `deleted` deletes. Of drawn points (Neuroglancer, napari, cellfinder) the missing ones are deleted; a
    row that is missing in a table means nothing.

    An export says of each object which edit was its last; for other files `edit` is the number that the
    export told, by default 0. What was edited since is a conflict: it is listed, and stays as it is. Edits
    are made by `person`, by default the user. Importing a file again writes nothing twice; with `dry_run`
    nothing is written at all.

    >>> log = folder / "imported.sqlite"
    >>> with review(work.url, database=log) as page:
    ...     made = export_review(work.url, folder / "edited.csv", database=log)
    >>> found = import_review(work.url, folder / "edited.csv", database=log)
    >>> found.counts["moved"], found.counts["unchanged"] == made.rows
    (0, True)
    """
    file, found = Path(file), ReviewPlace.find(place)
    objects = found.objects
    rows = FileRows.read(file, found.info, columns, unit)
    with _log_of(found.database(database), dry_run) as log:
        if not dry_run:
            found.table_of(log, objects.generation)
        table = log.find(found.work.url, found.name, objects.generation)
        history = ReviewHistory.of(objects, [] if table is None else log.edits(table))
        identified = IdentifiedRows.of(rows, history, _base(rows, edit, log.last()), tolerance_um)
        changes = _changes(identified, f"import-{rows.digest[:16]}-{table or 0}-")
        counts = counts_of(changes.edits)
        if table is not None and not dry_run:
            counts = append_edits(log, table, lambda _: person or getpass.getuser(), changes)
    counts |= {"unchanged": changes.unchanged, "conflicts": len(changes.conflicts)}
    return ImportedReview(file, found.name, counts, tuple(changes.conflicts), not dry_run)


@contextmanager
def _log_of(database: str, dry_run: bool) -> Iterator[ReviewLog]:
    """The log; of one that is not there yet a dry run makes none in its place."""
    with tempfile.TemporaryDirectory() as folder:
        missing = "://" not in database and not Path(database).exists()
        place = f"{folder}/trial.sqlite" if dry_run and missing else database
        with closing(open_log(place)) as log:
            yield log


def _base(rows: FileRows, edit: int | None, last: int) -> int:
    """The edit as of which a file was exported."""
    if edit is not None and not 0 <= edit <= last:
        raise BadInput(f"There is no edit {edit}: the last one is {last}.")
    if edit is not None:
        return edit
    return 0 if rows.edits is None else int(rows.edits.max(initial=0))


def _changes(identified: IdentifiedRows, begin: str) -> Changes:
    rows, history = identified.rows, identified.history
    changes = Changes(history, begin)
    difference = RowDifference(rows, history, frozenset(history.classes))
    for row, id, base in identified.bases():
        again = changes.has_added(id)
        made = difference.additions(row) if again else difference.documents(row, id, base)
        changes.propose(id, list(made), base)
    for row in identified.added:
        own = int(rows.ids[row])
        id = own if own != NO_ID and not history.knows(own) else _new_id(rows.digest, row)
        changes.add(id, list(difference.additions(row)))
    for id in identified.missing if rows.drawn else ():
        changes.propose(id, [{"operation": "delete"}], identified.base)
    return changes


def _new_id(digest: str, row: int) -> int:
    """The id of a point that a file adds: of the range from which the browser draws those of its own."""
    number = int.from_bytes(hashlib.sha256(f"{digest} {row}".encode()).digest()[:8], "big")
    return number & (OWN_ID - 1) | OWN_ID
