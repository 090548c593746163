"""False positives, written as points to be looked at; those that a reviewer calls cells are counted as such.

Each volume has a table of its own in the folder beside the model (cells.false-positives/1-dapi.csv), with an
empty column `class`. Whoever looks at these places writes the name of the output there where a cell was not
marked. When the table is written anew, what was said of a place stays.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chunkflow.data.atomic import write_whole
from chunkflow.errors import BadInput
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.people.learning.networks.scores import Counted

COLUMNS = ("x", "y", "z", "probability", "found_by", "class")
Place = tuple[str, str, str]


@dataclass(frozen=True)
class Reviewed:
    """What reviewers said of false positives, by volume and place; and the rows that said it."""

    rows: dict[str, dict[Place, dict[str, str]]]
    name: str

    @classmethod
    def read(cls, recipe: NetworkRecipe, to: Path) -> Reviewed:
        """From the tables beside a model, where there are any."""
        rows = {images: _said_in(file) for images, file in _files(recipe, to).items()}
        return cls(rows, recipe.truth.outputs[0].name)

    def applied(self, counted: Counted) -> Counted:
        """What was counted, with those false positives that are cells after all."""
        if counted.cells is None:
            return counted
        called = sum(
            self.rows.get(volume, {}).get(place, {}).get("class") == self.name
            for volume, place, _ in counted.wrong
        )
        return replace(counted, cells=replace(counted.cells, called=called))

    def write(self, recipe: NetworkRecipe, to: Path, found: Sequence[tuple[str, Counted]]) -> None:
        """Write the tables anew: the false positives of each network, and what was said of any place."""
        for images, file in _files(recipe, to).items():
            said = self.rows.get(images, {})
            wrong = [
                (place, chance, name)
                for name, counted in found
                for volume, place, chance in counted.wrong
                if volume == images
            ]
            rows = [
                said.get(place, {}) | dict(zip(COLUMNS, (*place, f"{chance:.3f}", name), strict=False))
                for place, chance, name in wrong
            ]
            here = {place for place, _, _ in wrong}
            rows += [row for place, row in said.items() if place not in here]
            if rows or file.exists():
                file.parent.mkdir(exist_ok=True)
                write_whole(file, _csv(rows))


def false_positives_of(to: Path) -> Path:
    """The folder of the tables."""
    return to.with_suffix(".false-positives")


def _files(recipe: NetworkRecipe, to: Path) -> dict[str, Path]:
    """The table of each volume by its images; volumes of the same images share one."""
    files: dict[str, Path] = {}
    for number, volume in enumerate(recipe.volumes, start=1):
        images = volume.images[0]
        files.setdefault(images, false_positives_of(to) / f"{number}-{Path(images).name}.csv")
    return files


def _said_in(file: Path) -> dict[Place, dict[str, str]]:
    """The rows of a table that have a class, by their places; spreadsheets may have written it."""
    if not file.exists():
        return {}
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{file} is not written in UTF-8: save it as CSV in UTF-8.") from None
    rows = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in ("x", "y", "z", "class") if name not in (rows.fieldnames or ())]
    if missing:
        raise BadInput(
            f"{file} has no column {missing[0]}: save it with commas between its columns "
            f"({', '.join(COLUMNS)})."
        )
    said = {}
    for number, row in enumerate(rows, start=2):
        row = {name: value or "" for name, value in row.items() if name}
        row["class"] = row["class"].strip()
        if row["class"]:
            said[_place_of(row, f"{file}, line {number}")] = row
    return said


def _place_of(row: Mapping[str, str], where: str) -> Place:
    """The place of a row as tables write it."""
    try:
        x, y, z = (f"{float(row[axis]):.3f}" for axis in "xyz")
    except ValueError:
        raise BadInput(f"{where}: x, y and z are numbers.") from None
    return x, y, z


def _csv(rows: Sequence[Mapping[str, str]]) -> bytes:
    """A table with the columns that a reviewer has added behind its own."""
    added = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    text = io.StringIO()
    table = csv.DictWriter(text, (*COLUMNS, *added), restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()
