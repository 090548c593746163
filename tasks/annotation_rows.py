"""What the steps of `annotate` share: where the rows of a table lie, which columns are shown, the info.

Cells, blocks and files of ids are made from the volume alone, never from how the table is cut into files. A
row is filed by the voxel its object is named after, but its point is the centroid: so the steps that go by
place read MARGIN voxels more than their own cell, and rows that lie still farther are found first (strays).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.kernels import annotations as points
from chunkflow.kernels.morton import code_bits, code_block, morton_encode
from chunkflow.kernels.shards import Sharding
from chunkflow.task import Layout
from chunkflow.volume import LayerInfo

MARGIN: Vec = (64, 64, 64)
RELATIONSHIP = "segment"
PROPERTY_OF_COLUMN = {
    "float": "float32",
    "double": "float32",
    "halffloat": "float32",
    "int64": "float32",
    "uint64": "float32",
    "bool": "uint8",
    **{name: name for name in points.PROPERTY_TYPES if name != "float32"},
}


@dataclass(frozen=True)
class Table:
    """An object table's place in space."""

    info: LayerInfo

    @cached_property
    def in_cells(self) -> bool:
        """Rows are filed by the voxels that their ids name; else all are in one file, under any ids."""
        return self.info.cell is not None

    @cached_property
    def levels(self) -> points.Levels:
        return points.levels_of(self.info.volume.size, self.info.voxel_size, one_block=not self.in_cells)

    def files(self, region: Box) -> Grid:
        """The table's files, those from which a point may lie in `region` included."""
        if self.info.cell is None:
            return Grid.whole(region)
        near = region.grow(MARGIN).clip(self.info.volume)
        return Grid(near, self.info.cell, self.info.volume.start)

    def blocks(self, region: Box) -> Grid:
        """What one worker puts in cells at once."""
        return Grid(region, self.levels.cells[self.levels.block], self.info.volume.start)

    def block_at(self, box: Box) -> Vec:
        """The place of a block among all that the volume has."""
        cell = self.levels.cells[self.levels.block]
        return vec((a - o) // c for a, o, c in zip(box.start, self.info.volume.start, cell, strict=True))

    @cached_property
    def code_bits(self) -> tuple[int, int]:
        """The bits of an id's Morton code, and how many of the low ones span a file of the id index."""
        bits = code_bits(self.info.volume.size)
        return bits, points.block_code_bits(bits)

    def id_blocks(self, region: Box) -> Grid:
        """The space of each file of the id index: an aligned range of Morton codes."""
        if not self.in_cells:
            return Grid.whole(region)
        _, stop = code_block(0, self.code_bits[1], self.info.volume.size)
        return Grid(region, stop, self.info.volume.start)

    def shard_at(self, box: Box) -> int:
        """The file of the id index that a cell of `id_blocks` stands for."""
        bits = self.code_bits[1]
        _, stop = code_block(0, bits, self.info.volume.size)
        corner = [(a - o) // c * c for a, o, c in zip(box.start, self.info.volume.start, stop, strict=True)]
        return int(morton_encode(np.array([corner]), self.info.volume.size)[0]) >> bits

    def space_of_shard(self, shard: int) -> Box:
        bits = self.code_bits[1]
        start, stop = code_block(shard << bits, bits, self.info.volume.size)
        return Box(start, stop).shift(self.info.volume.start)

    def shards(self, ids: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """The file of the id index that each id belongs to (where rows are filed by their ids)."""
        bits, low = self.code_bits
        return Sharding("identity", low, 0, bits - low).locate(ids)[0]

    def voxels(self, rows: pa.Table) -> npt.NDArray[np.int64]:
        """The voxel of each point as it is written, in float32, counted from the volume's first."""
        if not len(rows):
            return np.zeros((0, 3), np.int64)
        found = np.floor(positions(rows)).astype(np.int64)
        first, stop = np.array(self.info.volume.start), np.array(self.info.volume.stop)
        return np.asarray(np.clip(found, first, stop - 1) - first)

    def within(self, box: Box, rows: pa.Table) -> pa.Table:
        """The rows whose points lie in `box`."""
        voxels = self.voxels(rows) + np.array(self.info.volume.start)
        return rows.filter(pa.array(((voxels >= box.start) & (voxels < box.stop)).all(axis=1)))


def of_one_file(layout: Layout) -> LayerInfo:
    """A table of this task's own, which has few rows."""
    changes: dict[str, Any] = {"kind": "table", "cell": None, "connected": False}
    return layout.main.model_copy(update=changes)


def positions(rows: pa.Table) -> npt.NDArray[np.float32]:
    return np.stack([rows[axis].to_numpy() for axis in "xyz"], 1).astype(np.float32)


def lost_rows(strays: pa.Table, lost: str) -> pa.Table:
    """The strays that no other reading of the table finds, as rows of it."""
    if not len(strays):
        return strays
    flags = ("lost_to_cells", "lost_to_index")
    return strays.filter(strays[lost]).drop_columns(list(flags))


def with_strays(objects: pa.Table, strays: pa.Table) -> pa.Table:
    """The rows that were read, and those that would have been, but lie elsewhere in the table."""
    return pa.concat_tables([objects, strays], promote_options="default") if len(strays) else objects


@dataclass(frozen=True)
class Property:
    """A column as the layer shows it."""

    column: str
    name: str
    type: str


@dataclass(frozen=True)
class Decided:
    """What is the same for all steps that write."""

    shares: list[int]
    points: int
    fullest_block: int
    columns: dict[str, str]

    @classmethod
    def of(cls, levels: pa.Table) -> Decided:
        return cls(**json.loads(levels["decided"][0].as_py()))

    def choose(self, wanted: Sequence[str]) -> list[Property]:
        """The properties in the order in which they are stored: by size, then as asked for."""
        columns = list(wanted) or [
            name
            for name, kind in self.columns.items()
            if kind in PROPERTY_OF_COLUMN
            and (name in ("volume_um3", "diameter_um") or name.endswith("_mean"))
        ]
        if not self.points:  # a table without rows may lack its columns
            columns = [name for name in columns if name in self.columns]
        chosen = [self._property(name) for name in columns]
        names = [p.name for p in chosen]
        if len(set(names)) < len(names):
            raise BadInput(f"annotate: two of the properties {', '.join(columns)} would have the same name.")
        return sorted(chosen, key=lambda p: -np.dtype(points.PROPERTY_TYPES[p.type]).itemsize)

    def _property(self, column: str) -> Property:
        if column not in self.columns:
            known = ", ".join(self.columns)
            raise BadInput(f"annotate: the table has no column {column!r} to show; it has {known}.")
        kind = self.columns[column]
        if kind not in PROPERTY_OF_COLUMN:
            raise BadInput(f"annotate: the column {column!r} cannot be shown: it holds {kind}, not numbers.")
        return Property(column, property_name(column), PROPERTY_OF_COLUMN[kind])


def property_name(column: str) -> str:
    """A column's name as the format allows it: a small letter, then letters, digits and underscores."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", column)
    return name[0].lower() + name[1:] if re.match(r"[A-Za-z]", name) else f"p_{name}"


def records_of(rows: pa.Table, chosen: Sequence[Property]) -> npt.NDArray[Any]:
    """The points as they are stored."""
    records = np.zeros(len(rows), points.record_type([p.type for p in chosen]))
    if not len(rows):
        return records
    records["point"] = positions(rows)
    for i, wanted in enumerate(chosen):
        column = rows[wanted.column]
        if column.null_count and wanted.type != "float32":
            raise BadInput(f"annotate: the column {wanted.column!r} has rows without a number.")
        records[f"p{i}"] = column.to_numpy()
    return records


def index_sharding(table: Table, decided: Decided) -> Sharding:
    """Of the id and segment indexes: about 256 points share a minishard, whose index is read at once."""
    if table.in_cells:
        bits, low = table.code_bits
        minishards = min((decided.fullest_block >> 8).bit_length(), low, 12)
        return Sharding("identity", low - minishards, minishards, bits - low)
    shards = (decided.points >> 18).bit_length()
    return Sharding("murmurhash3_x86_128", 0, (decided.points >> (8 + shards)).bit_length(), shards)


def info_document(table: Table, decided: Decided, chosen: Sequence[Property], limit: int) -> dict[str, Any]:
    """The layer's `info`."""
    info, levels = table.info, table.levels
    sharding = index_sharding(table, decided).document()
    spatial = []
    for level in range(len(decided.shares)):
        entry: dict[str, Any] = {
            "key": f"spatial{level}",
            "grid_shape": list(levels.shape(level)),
            "chunk_size": list(levels.cells[level]),
            "limit": limit,
        }
        if levels.sharded(level):
            entry["sharding"] = levels.sharding(level).document()
        spatial.append(entry)
    return {
        "@type": "neuroglancer_annotations_v1",
        "dimensions": {axis: [float(f"{v}e-9"), "m"] for axis, v in zip("xyz", info.voxel_size, strict=True)},
        "lower_bound": [float(n) for n in info.volume.start],
        # Some readers find only cells that lie within the bounds as a whole.
        "upper_bound": [float(a + n) for a, n in zip(info.volume.start, levels.extent, strict=True)],
        "annotation_type": "POINT",
        "properties": [{"id": p.name, "type": p.type, "description": p.column} for p in chosen],
        "relationships": [{"id": RELATIONSHIP, "key": f"index/{RELATIONSHIP}", "sharding": sharding}],
        "by_id": {"key": "index/by_id", "sharding": sharding},
        "spatial": spatial,
    }
