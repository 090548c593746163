"""Decisions before an annotation layer is written: how much each level shows, its properties."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.data.info import LayerInfo
from chunkflow.geometry import Box, Grid
from chunkflow.kernels.precomputed import annotations as layers
from chunkflow.kernels.precomputed.crossings import crossings, extents
from chunkflow.kernels.precomputed.morton import morton_encode
from chunkflow.task import Cell, Layout, MergedRows, Objects, Out, Result, SentRows, Task
from tasks.annotate.properties import Property, Seen, one_colour, properties_of, seen_in, seen_together
from tasks.annotate.relations import related_of
from tasks.annotate.rows import MARGIN, Chosen, Places, TableSpace, shown

NOTES = 255
"""The level of rows that count nothing, but tell what was seen."""


@dataclass(frozen=True)
class LayerContent:
    """Content of the layer that all steps that write agree on."""

    shares: list[int]
    rows: int
    related: dict[str, int]
    """How many ids each relationship has, over all rows."""
    seen: Seen

    @classmethod
    def of(cls, levels: pa.Table) -> LayerContent:
        found = json.loads(levels["decided"][0].as_py())
        return cls(**found | {"seen": Seen(**found["seen"])})

    def properties(self, chosen: Chosen) -> list[Property]:
        return properties_of(self.seen, chosen, self.rows)


class CountByLevel(Task):
    """Count the annotations of each level's fullest cell, and note the values of the columns."""

    shape = SentRows(row_by_row=True)

    objects: Objects
    counts: Objects = Out()
    chosen: Chosen

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        cell = TableSpace.of(layout).blocks(layout.main.volume).cell
        return {"counts": layout.main.as_table(cell)}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return TableSpace.of(layout).readers(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box.grow(MARGIN)]

    def gathers(self, layout: Layout, region: Box) -> Grid:
        return TableSpace.of(layout).blocks(region)

    def map(self, cell: Cell, objects: pa.Table) -> Result:
        rows, places = shown(cell, objects, self.chosen)
        related = {
            name: int(related_of(rows, column)[1].sum()) for name, column in self.chosen.relationships.items()
        }
        note = json.dumps({"rows": len(rows), "related": related, "seen": asdict(seen_in(rows, self.chosen))})
        counted = _counts(cell, self.chosen, places, self.gathers(cell.layout, cell.bounds))
        return pa.concat_tables([_rows([0], NOTES, [0], [0], note), *counted])

    def finish(self, cell: Cell, rows: pa.Table) -> pa.Table:
        levels = TableSpace.of(cell.layout).levels
        notes, level_of, codes, numbers = _columns(rows)
        fullest = [0] * len(levels.cells)
        for level in range(len(levels.cells)):
            here = level_of == level
            if here.any():
                _, which = np.unique(codes[here], return_inverse=True)
                fullest[level] = int(np.bincount(which, weights=numbers[here]).max())
        ids = pa.array([cell.index + 1], pa.uint64())
        return pa.table({"id": ids, "fullest": [json.dumps(fullest)], "seen": [json.dumps(_noted(notes))]})


class Share(Task):
    """The share of the annotations that each level takes, and what they all have."""

    shape = MergedRows()

    objects: Objects
    counts: Objects
    levels: Objects = Out()
    chosen: Chosen

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"levels": layout.main.as_table()}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.whole(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box] if field == "counts" else []

    def map(self, cell: Cell, counts: pa.Table) -> Result:
        fullest = np.array([json.loads(text) for text in counts["fullest"].to_pylist()], np.int64)
        found = _noted(json.loads(text) for text in counts["seen"].to_pylist())
        shares = layers.shares(fullest.max(axis=0).tolist(), self.chosen.limit)
        decided = LayerContent(shares, found["rows"], found["related"], Seen(**found["seen"]))
        decided.properties(self.chosen)  # what cannot be shown is told before anything is written
        one_colour(decided.seen, self.chosen, decided.rows)
        return pa.table({"id": pa.array([1], pa.uint64()), "decided": [json.dumps(asdict(decided))]})

    def merge(self, rows: pa.Table) -> pa.Table:
        return rows


def listed(
    cell: Cell, chosen: Chosen, places: Places, level: int, grid: Grid
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Each annotation with each cell of a level that it stands in: its number, the cell's code, and which
    block of `grid` has that cell: the one that it lies in, or the first that lies in it."""
    levels = TableSpace.of(cell.layout).levels
    from_first = _from_first(cell, chosen, places)
    which, met = crossings(chosen.kind, from_first, levels.cells[level], levels.shape(level))
    begin = levels.block_of(met, level) - np.array(grid.first)
    end = levels.block_of(met + 1, level) - np.array(grid.first)
    inside = (np.maximum(end, begin + 1) > 0).all(axis=1) & (begin < np.array(grid.shape)).all(axis=1)
    blocks = np.maximum(begin[inside], 0)
    index = blocks[:, 0] + grid.shape[0] * (blocks[:, 1] + grid.shape[1] * blocks[:, 2])
    return which[inside], morton_encode(met[inside], levels.shape(level)), index


def finest_of(cell: Cell, chosen: Chosen, places: Places) -> npt.NDArray[np.intp]:
    """The finest level that each annotation may lie in."""
    levels = TableSpace.of(cell.layout).levels
    if chosen.kind == "point":
        return np.full(len(places), len(levels.cells) - 1, np.intp)
    return layers.finest_levels(*extents(chosen.kind, _from_first(cell, chosen, places)), levels)


def _from_first(cell: Cell, chosen: Chosen, places: Places) -> npt.NDArray[np.float64]:
    """Places counted from the volume's first voxel; radii stay what they are."""
    start = np.array(cell.volume.start, np.float64)
    origin = np.concatenate([start, np.zeros(3) if chosen.kind == "ellipsoid" else start])
    return np.asarray(places.astype(np.float64) - origin[: places.shape[1]])


def _counts(cell: Cell, chosen: Chosen, places: Places, grid: Grid) -> Iterable[pa.Table]:
    """How many annotations each cell of each level has."""
    levels = TableSpace.of(cell.layout).levels
    finest = finest_of(cell, chosen, places)
    for level in range(len(levels.cells)):
        _, codes, blocks = listed(cell, chosen, places[finest >= level], level, grid)
        found, first, numbers = np.unique(codes, return_index=True, return_counts=True)
        yield _rows(blocks[first], level, found, numbers, "")


def _rows(cells: Any, level: int, codes: Any, numbers: Any, note: str) -> pa.Table:
    return pa.table(
        {
            "cell": pa.array(cells, pa.int64()),
            "level": pa.array(np.full(len(cells), level, np.uint8)),
            "code": pa.array(codes, pa.uint64()),
            "number": pa.array(numbers, pa.int64()),
            "note": pa.array([note] * len(cells), pa.string()),
        }
    )


def _columns(rows: pa.Table) -> tuple[list[dict[str, Any]], Any, Any, Any]:
    if not len(rows):
        return [], np.zeros(0, np.uint8), np.zeros(0, np.uint64), np.zeros(0, np.int64)
    level, code, number = (rows[name].to_numpy() for name in ("level", "code", "number"))
    notes = rows.filter(pa.array(level == NOTES))["note"].to_pylist()
    return [json.loads(note) for note in notes], level, code, number


def _noted(notes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """All notes together."""
    found = list(notes)
    related: dict[str, int] = {}
    for note in found:
        for name, count in note["related"].items():
            related[name] = related.get(name, 0) + count
    return {
        "rows": sum(note["rows"] for note in found),
        "related": related,
        "seen": asdict(seen_together(Seen(**note["seen"]) for note in found)),
    }
