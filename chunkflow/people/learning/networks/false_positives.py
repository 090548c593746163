"""False positives, written as points to be looked at; those that a reviewer calls cells are counted as such.

Each volume has a table of its own in the folder beside the model (cells.false-positives/1-dapi.csv), with an
empty column `class`. Whoever looks at these places writes the name of the output there where a cell was not
marked. When the table is written anew, what was said of a place stays.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chunkflow.data.atomic import write_whole
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
        rows = {}
        for images, file in _files(recipe, to):
            read = [row | {"class": (row.get("class") or "").strip()} for row in _read(file)]
            rows[images] = {(row["x"], row["y"], row["z"]): row for row in read if row["class"]}
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
        for images, file in _files(recipe, to):
            said = self.rows.get(images, {})
            wrong = [
                (place, chance, name)
                for name, counted in found
                for volume, place, chance in counted.wrong
                if volume == images
            ]
            lines = [
                [*place, f"{chance:.3f}", name, said.get(place, {}).get("class", "")]
                for place, chance, name in wrong
            ]
            here = {place for place, _, _ in wrong}
            elsewhere = [row for place, row in said.items() if place not in here]
            lines += [[row.get(column, "") for column in COLUMNS] for row in elsewhere]
            if lines or file.exists():
                file.parent.mkdir(exist_ok=True)
                write_whole(file, _csv([COLUMNS, *lines]))


def false_positives_of(to: Path) -> Path:
    """The folder of the tables."""
    return to.with_suffix(".false-positives")


def _files(recipe: NetworkRecipe, to: Path) -> list[tuple[str, Path]]:
    """The images of each volume, and its table."""
    folder = false_positives_of(to)
    return [
        (volume.images[0], folder / f"{number}-{Path(volume.images[0]).name}.csv")
        for number, volume in enumerate(recipe.volumes, start=1)
    ]


def _read(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _csv(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
