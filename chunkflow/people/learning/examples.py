"""Examples to train on: objects of tables, and what people said that they are.

1. Each table is found by the work folder that made it, or by its own path.
2. The labels are read (ids or places, with a class) and given to the objects that they mean.
3. The features of these objects alone are read from the table, a piece at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.data.describe import layer_at
from chunkflow.data.info import TableInfo
from chunkflow.data.tables import Table, table_pieces
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.formats.points.files import assign, read_points
from chunkflow.jobs.locate import open_table
from chunkflow.people.learning.features import Floats, choose_features, feature_rows, refuse_missing
from chunkflow.people.learning.scores import Examples
from chunkflow.people.review.labels import is_reviewed, review_labels
from chunkflow.words import counted

Texts = npt.NDArray[np.str_]
ObjectTable = str | Path | Table | TableInfo
"""A table of objects: WORK (its `objects`), WORK:TABLE, its own place, or what is known of it."""
GROUP_OF_WORKS = "work"
PLACES_AND_ID = ("id", "x_um", "y_um", "z_um", "diameter_um")


@dataclass(frozen=True)
class Labelled:
    """The objects of one table whose class is known."""

    features: Floats
    classes: Texts
    groups: Texts
    """Of each, what the column of groups says."""


@dataclass(frozen=True)
class Gathered:
    """All examples, the columns that their features are, and what is to be told of the labels."""

    examples: Examples
    features: list[str]
    remarks: list[str]


def fingerprint_of(features: Sequence[str], examples: Examples) -> str:
    """The same for the same examples of the same features."""
    content = hashlib.sha256("\n".join([*features, *examples.names]).encode())
    content.update(np.ascontiguousarray(examples.features).tobytes())
    content.update(examples.classes.tobytes())
    return content.hexdigest()


@contextmanager
def told_with(remarks: Sequence[str]) -> Iterator[None]:
    """Append what is to be told of the labels to a BadInput: what was left out may be the reason."""
    try:
        yield
    except BadInput as error:
        if not remarks:
            raise
        raise BadInput(" ".join([f"{str(error).rstrip('.')}.", *remarks])) from error


def gather(
    tables: ObjectTable | Sequence[ObjectTable],
    labels: str | Path | Sequence[str | Path],
    patterns: Sequence[str],
    group: str,
    unit: str,
) -> Gathered:
    """Read the labelled objects of every table; `labels` has one file for each."""
    tables = [tables] if isinstance(tables, ObjectTable) else tables
    labels = [labels] if isinstance(labels, str | Path) else labels
    if not tables:
        raise BadInput("There is no table to train on: give one table of objects, or several.")
    if len(labels) != len(tables):
        raise BadInput(
            f"There are {counted(len(tables), 'table')} and {counted(len(labels), 'file')} of labels: "
            "give a file for each table, in their order."
        )
    infos = [open_table(table) for table in tables]
    named = [str(table) if isinstance(table, str | Path) else table.url for table in tables]
    features = choose_features(_schema(infos[0]), patterns, carried=bool(group))
    remarks: list[str] = []
    found = []
    for name, info, file in zip(named, infos, map(Path, labels), strict=True):
        refuse_missing(features, _schema(info), name, "to be trained")
        found.append(_labelled(name, info, file, features, "" if group == GROUP_OF_WORKS else group, unit))
        remarks += found[-1][1]
    parts = [part for part, _ in found]
    classes = np.concatenate([part.classes for part in parts])
    names, numbers = np.unique(classes, return_inverse=True)
    if len(names) < 2:
        said = f"All {len(classes)} labelled objects are of the class {names[0]}: label some of another, too."
        with told_with(remarks):
            raise BadInput(said)
    groups = None
    if group:
        keys = [np.full(len(part.classes), n) for n, part in enumerate(parts)]
        values = np.concatenate(keys if group == GROUP_OF_WORKS else [part.groups for part in parts])
        groups = np.unique(values, return_inverse=True)[1].astype(np.int64)
    rows = np.concatenate([part.features for part in parts])
    examples = Examples(rows, numbers.astype(np.int64), tuple(map(str, names)), groups)
    return Gathered(examples, features, remarks)


def _schema(info: TableInfo) -> pa.Schema:
    return next(table_pieces(info, info.grid.box(0))).schema


def _labelled(
    name: str, info: TableInfo, file: Path, features: list[str], group: str, unit: str
) -> tuple[Labelled, list[str]]:
    """The labelled objects of one table, sorted by id, and what is to be told of the labels."""
    classes, remarks = _classes_by_id(name, info, file, unit)
    schema = _schema(info)
    if group and group not in schema.names:
        raise BadInput(f"The table {name} has no column {group} to group by; the group may also be `work`.")
    wanted = np.array(sorted(classes), np.uint64)
    kept = []
    for piece in table_pieces(info, info.bounds):
        rows = piece.filter(pa.array(np.isin(piece["id"].to_numpy(), wanted)))
        kept.append(rows.select(list(dict.fromkeys(["id", *features, *([group] if group else [])]))))
    rows = pa.concat_tables(kept, promote_options="permissive").sort_by("id")
    values = feature_rows(rows, features)
    whole = np.isfinite(values).all(axis=1)
    if not whole.any():
        raise BadInput(f"No labelled object of {name} has all of its features: {', '.join(features)}.")
    if not whole.all():
        remarks.append(f"{int((~whole).sum())} labelled objects of {name} lack a feature and are left out.")
    rows = rows.filter(pa.array(whole))
    of_rows = np.array([classes[number] for number in rows["id"].to_pylist()])
    groups = np.array([str(value) for value in rows[group].to_pylist()] if group else [""] * len(rows))
    return Labelled(values[whole], of_rows, groups), remarks


def _classes_by_id(name: str, info: TableInfo, file: Path, unit: str) -> tuple[dict[int, str], list[str]]:
    """The class of each object that a label means, where all that mean it agree."""
    remarks: list[str] = []
    if is_reviewed(file):
        points, remarks = review_labels(file)
    else:
        points = read_points(file, info, unit=unit)
    if "class" not in points.column_names:
        raise BadInput(
            f"{file} has no column `class` (its columns: {', '.join(points.column_names)}): it must say what "
            "each object is."
        )
    said = points["class"].to_pylist()
    points = points.filter(pa.array([bool(text and text.strip()) for text in said]))
    if not len(points):
        raise BadInput(f"{file} names no class: each row is without one.")
    assigned = assign(points, _places(info), info, _labels_of(info))
    if not (assigned.ids != 0).any():
        raise BadInput(
            f"None of the {len(points)} labels of {file} means an object of {name}: are they of this table, "
            "and their places in its voxels?"
        )
    classes: dict[int, str] = {}
    unclear = set()
    for number, text in zip(assigned.ids.tolist(), points["class"].to_pylist(), strict=True):
        if number and classes.setdefault(number, text.strip()) != text.strip():
            unclear.add(number)
    lost = len(assigned.unmatched)
    if len(points) < len(said):
        remarks.append(f"{len(said) - len(points)} rows of {file} name no class and are left out.")
    if lost:
        remarks.append(f"{lost} of {len(points)} labels of {file} mean no object and are left out.")
    if unclear:
        remarks.append(
            f"{counted(len(unclear), 'object')} of {name} labelled as several classes left out: "
            f"{', '.join(map(str, sorted(unclear)[:5]))}{' …' if len(unclear) > 5 else ''}."
        )
    clear = {number: text for number, text in classes.items() if number not in unclear}
    if not clear:
        raise BadInput(f"Every object that {file} labels is labelled as several classes.")
    return clear, remarks


def _places(info: TableInfo) -> Iterator[pa.Table]:
    """What `assign` must know of the objects, a piece at a time."""
    for piece in table_pieces(info, info.bounds):
        yield piece.select([name for name in PLACES_AND_ID if name in piece.column_names])


def _labels_of(info: TableInfo) -> Volume | None:
    """The labels that a table was measured on, where they are still there."""
    if not info.labels:
        return None
    try:
        layer = layer_at(info.labels)
    except BadInput:
        return None
    return Volume(layer)
