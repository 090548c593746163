"""What the steps of `annotate` share: how space is cut, and which rows of the table are shown, and where.

Cells, blocks and files are cut from the volume alone, never from how the table is filed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from chunkflow.data.info import LayerInfo, TableInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.kernels.precomputed import annotations as layers
from chunkflow.kernels.precomputed.crossings import AnnotationKind, extents, numbers_of
from chunkflow.task import Cell, Layout
from tasks.annotate import columns as table_rows
from tasks.annotate.columns import Value

MARGIN: Vec = (64, 64, 64)
RELATIONSHIP = "segment"
MOST_READERS = 4096
MOST_WRITERS = 256
Places = npt.NDArray[np.float32]


class Chosen(BaseModel):
    """What was asked for, the same for all steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: AnnotationKind
    to: list[str]
    where: dict[str, Value | list[Value]]
    properties: list[str]
    color: str
    relationships: dict[str, str]
    limit: int


@dataclass(frozen=True)
class TableSpace:
    """An object table's place in space."""

    info: TableInfo

    @classmethod
    def of(cls, layout: Layout) -> TableSpace:
        return cls(layout.table("objects"))

    @cached_property
    def levels(self) -> layers.Levels:
        return layers.levels_of(self.info.volume.size, self.info.voxel_size)

    def readers(self, region: Box) -> Grid:
        """The table's files, or several at once; those from which an object may lie in `region` included, as
        a row is filed by the voxel that its object is named after."""
        if self.info.cell is None:
            return Grid.whole(region)
        near = region.grow(MARGIN).clip(self.info.volume)
        return _at_most(MOST_READERS, Grid(near, self.info.cell, self.info.volume.start))

    def blocks(self, region: Box) -> Grid:
        """What one worker puts in cells at once."""
        return Grid(region, self.levels.cells[self.levels.block], self.info.volume.start)

    def writers(self, region: Box) -> Grid:
        """As many cells as the files of an index by ids are shared out to."""
        return _at_most(MOST_WRITERS, self.blocks(region))

    def voxels(self, corners: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The voxels that these corners lie in, counted from the volume's first; its end is in its last."""
        found = np.floor(corners).astype(np.int64) - np.array(self.info.volume.start)
        return np.asarray(np.clip(found, 0, np.array(self.info.volume.size) - 1))


def _at_most(count: int, grid: Grid) -> Grid:
    while len(grid) > count:
        grid = Grid(grid.bounds, vec(2 * n for n in grid.cell), grid.anchor)
    return grid


def shown(cell: Cell, rows: pa.Table, chosen: Chosen) -> tuple[pa.Table, Places]:
    """The rows that are asked for and lie in what the job covers, and the places of their annotations."""
    rows = table_rows.rows_where("annotate", rows, chosen.where)
    places = _places(rows, chosen, cell.layout.main)
    if not len(rows):
        return rows, places
    _check_places(rows, places, chosen.kind, cell.volume)
    table = TableSpace.of(cell.layout)
    covered = cell.bounds.shift(vec(-n for n in cell.volume.start))
    low, high = (table.voxels(corner) for corner in extents(chosen.kind, places))
    inside = ((high >= covered.start) & (low < covered.stop)).all(axis=1)
    return (rows, places) if inside.all() else (rows.filter(pa.array(inside)), places[inside])


def column_of(rows: pa.Table, name: str, what: str) -> pa.ChunkedArray:
    return table_rows.column_of("annotate", rows, name, what)


def _places(rows: pa.Table, chosen: Chosen, info: LayerInfo) -> Places:
    if not len(rows):
        return np.zeros((0, numbers_of(chosen.kind)), np.float32)
    if chosen.kind == "box":
        low = [_numbers(rows, f"{axis}_min") for axis in "xyz"]
        high = [_numbers(rows, f"{axis}_max") + 1 for axis in "xyz"]  # the last voxel is in the box
        return np.stack(low + high, 1).astype(np.float32)
    first = [_numbers(rows, axis) for axis in "xyz"]
    second: list[npt.NDArray[Any]] = []
    if chosen.kind == "line":
        second = [_numbers(rows, name) for name in chosen.to or ("x2", "y2", "z2")]
    elif chosen.kind == "ellipsoid" and "r_x" in rows.column_names:
        second = [_numbers(rows, f"r_{axis}") for axis in "xyz"]
    elif chosen.kind == "ellipsoid":
        diameter = _numbers(rows, "diameter_um")
        second = [diameter * 500 / size for size in info.voxel_size]
    return np.stack(first + second, 1).astype(np.float32)


def _numbers(rows: pa.Table, name: str) -> npt.NDArray[Any]:
    column = column_of(rows, name, "to tell its place")
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise BadInput(f"annotate: the column {name!r} holds {column.type}, not numbers.")
    return np.asarray(column.to_numpy(), np.float64)


def _check_places(rows: pa.Table, places: Places, kind: AnnotationKind, volume: Box) -> None:
    """Points, both ends of lines, corners of boxes and centres of balls must lie in the volume."""
    ends = places[:, :3] if kind in ("point", "ellipsoid") else places
    times = ends.shape[1] // 3
    low, high = np.tile(np.array(volume.start), times), np.tile(np.array(volume.stop), times)
    inside = ((ends >= low) & (ends <= high)).all(axis=1)
    if not inside.all():
        row = int(np.argmin(inside))
        raise BadInput(
            f"annotate: object {rows['id'][row].as_py()} lies at {ends[row].tolist()}, "
            f"outside of the volume {volume}."
        )
    if kind == "ellipsoid":
        radii = places[:, 3:]
        sound = np.asarray(np.isfinite(radii) & (radii >= 0)).all(axis=1)
        if not sound.all():
            row = int(np.argmin(sound))
            raise BadInput(
                f"annotate: object {rows['id'][row].as_py()} has the radii {radii[row].tolist()}; "
                "they must be 0 or more."
            )
