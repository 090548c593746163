"""Points: an object table as a precomputed annotation layer, indexed by place, by id and by segment.

1. `survey` finds the few rows that lie far from the part of the table that has them.
2. `count` counts points in the cells of each level, a block at a time.
3. `levels` decides how large a share of the points each level shows.
4. `cells` writes each block's own cells; cells that hold several blocks are put together up the tree.
5. `index` writes the id index and the segment index, each file of them a block of space, as ids are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid
from chunkflow.kernels import annotations as points
from chunkflow.kernels.morton import morton_encode
from chunkflow.kernels.shards import encode_shards
from chunkflow.task import Annotations, Cell, Files, Layout, Objects, Out, Result, Task
from chunkflow.volume import LayerInfo
from tasks.annotation_rows import (
    MARGIN,
    RELATIONSHIP,
    Decided,
    Table,
    index_sharding,
    info_document,
    of_one_file,
    positions,
    reads_of,
    records_of,
    with_strays,
)


class Annotate(Task):
    """Show the objects of a table in Neuroglancer: one point an object, at its centroid.

    Points have numbers of the table as properties, and are related to their segments: where the layer is linked
    to its labels, selecting a segment selects its point. The layer is indexed in levels, so that a viewer loads
    only what it shows, with at most about `limit` points in a cell.
    """

    objects: Objects = Field(description="the table: id, x, y, z, and the columns to show")
    annotations: Annotations = Out("the annotation layer")
    properties: list[str] = Field(
        [], description="columns to show; by default volume_um3, diameter_um and every image's mean"
    )
    limit: int = Field(1000, ge=1, description="points in a cell of the spatial index, about")

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        strays, counts, levels = (f"{self.annotations}.{name}" for name in ("strays", "counts", "levels"))
        objects, index = self.objects, f"{self.annotations}/index"
        chosen = {"levels": levels, "properties": self.properties}
        return [
            ("survey", Survey(objects=objects, strays=strays)),
            ("count", Count(objects=objects, strays=strays, counts=counts)),
            ("levels", Share(objects=objects, counts=counts, levels=levels, limit=self.limit)),
            (
                "cells",
                Cells.model_validate(
                    {
                        "objects": objects,
                        "strays": strays,
                        "annotations": self.annotations,
                        "limit": self.limit,
                    }
                    | chosen
                ),
            ),
            (
                "index",
                Index.model_validate({"objects": objects, "strays": strays, "annotations": index} | chosen),
            ),
        ]


class Survey(Task):
    """The rows that `cells` or `index` would not see: they read no farther than MARGIN from their own space."""

    objects: Objects
    strays: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"strays": of_one_file(layout)}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Table(layout.info("objects")).files(region)

    def map(self, cell: Cell, objects: pa.Table) -> Result:  # type: ignore[override]
        table = Table(cell.layout.info("objects"))
        if not len(objects):
            return None
        _check_positions(objects, cell.volume)
        if not table.in_cells:
            return None
        grid = table.blocks(cell.volume)
        first = np.array(cell.volume.start)
        starts = table.voxels(objects) // grid.cell * grid.cell + first
        lost_to_cells = ~_seen(cell, starts, starts + grid.cell)
        shards, which = np.unique(table.shards(objects["id"].to_numpy()), return_inverse=True)
        spaces = [table.space_of_shard(int(shard)) for shard in shards]
        seen = _seen(cell, np.array([s.start for s in spaces]), np.array([s.stop for s in spaces]))
        lost_to_index = ~seen[which]
        rows = objects.append_column("lost_to_cells", pa.array(lost_to_cells))
        rows = rows.append_column("lost_to_index", pa.array(lost_to_index))
        return rows.filter(pa.array(lost_to_cells | lost_to_index))

    def merge(self, rows: pa.Table) -> pa.Table:
        return rows


def _check_positions(objects: pa.Table, volume: Box) -> None:
    places = positions(objects)
    inside = ((places >= np.float32(volume.start)) & (places <= np.float32(volume.stop))).all(axis=1)
    if not inside.all():
        row = int(np.argmin(inside))
        raise BadInput(
            f"annotate: object {objects['id'][row].as_py()} lies at {places[row].tolist()}, "
            f"outside of the volume {volume}."
        )


def _seen(cell: Cell, start: npt.NDArray[np.int64], stop: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether a reader whose cell is each of these boxes reads the file of the table that `cell` is."""
    low, high = np.maximum(start, cell.bounds.start), np.minimum(stop, cell.bounds.stop)
    near = (low - MARGIN < cell.box.stop) & (high + MARGIN > cell.box.start)
    return np.asarray((near & (low < high)).all(axis=1))


class Count(Task):
    """How many points each block has, and how many the fullest cell of each finer level."""

    objects: Objects
    strays: Objects
    counts: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"counts": of_one_file(layout)}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Table(layout.info("objects")).blocks(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return reads_of(box)

    def map(self, cell: Cell, objects: pa.Table, strays: pa.Table) -> Result:  # type: ignore[override]
        table = Table(cell.layout.info("objects"))
        levels = table.levels
        voxels = table.voxels(table.within(cell.box, with_strays(objects, strays, "lost_to_cells")))
        fullest = []
        for level in range(levels.block + 1, len(levels.cells)):
            numbers = morton_encode(levels.places(voxels, level), levels.shape(level))
            fullest.append(int(np.unique(numbers, return_counts=True)[1].max(initial=0)))
        place = table.block_at(cell.box)
        columns = {name: str(objects.schema.field(name).type) for name in objects.column_names}
        return pa.table(
            {
                "id": pa.array([levels.number(levels.block, place) + 1], pa.uint64()),
                **{axis: pa.array([n], pa.int64()) for axis, n in zip("xyz", place, strict=True)},
                "points": pa.array([len(voxels)], pa.int64()),
                "fullest": [json.dumps(fullest)],
                "columns": [json.dumps(columns)],
            }
        )

    def merge(self, rows: pa.Table) -> pa.Table:
        return rows


class Share(Task):
    """The share of the points that each level takes."""

    objects: Objects
    counts: Objects
    levels: Objects = Out()
    limit: int

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"levels": of_one_file(layout)}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.whole(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box] if field == "counts" else []

    def map(self, cell: Cell, counts: pa.Table) -> Result:  # type: ignore[override]
        levels = Table(cell.layout.info("objects")).levels
        blocks = np.stack([counts[axis].to_numpy() for axis in "xyz"], 1)
        number = counts["points"].to_numpy()
        fullest = []
        for level in range(levels.block + 1):
            factor = np.array(levels.cells[level]) // np.array(levels.cells[levels.block])
            _, which = np.unique(morton_encode(blocks // factor, levels.shape(level)), return_inverse=True)
            fullest.append(int(np.bincount(which, weights=number).max()))
        finer = np.array([json.loads(text) for text in counts["fullest"].to_pylist()], np.int64)
        fullest += [int(n) for n in finer.reshape(len(blocks), -1).max(axis=0)]
        columns: dict[str, str] = {}
        for text in set(counts["columns"].to_pylist()):
            columns = json.loads(text) if len(text) > len(json.dumps(columns)) else columns
        decided = {
            "shares": points.shares(fullest, self.limit),
            "points": int(number.sum()),
            "fullest_block": int(number.max()),
            "columns": columns,
        }
        return pa.table({"id": pa.array([1], pa.uint64()), "decided": [json.dumps(decided)]})

    def merge(self, rows: pa.Table) -> pa.Table:
        return rows


class Cells(Task):
    """The cells of the spatial index, and the layer's info."""

    objects: Objects
    strays: Objects
    levels: Objects
    annotations: Annotations = Out()
    properties: list[str]
    limit: int

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Table(layout.info("objects")).blocks(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box] if field == "levels" else reads_of(box)

    def map(  # type: ignore[override]
        self, cell: Cell, objects: pa.Table, strays: pa.Table, levels: pa.Table
    ) -> Result:
        table = Table(cell.layout.info("objects"))
        decided = Decided.of(levels)
        chosen = decided.choose(self.properties)
        rows = table.within(cell.box, with_strays(objects, strays, "lost_to_cells"))
        ids, records, voxels = rows["id"].to_numpy(), records_of(rows, chosen), table.voxels(rows)
        files: Files = {}
        pieces = []
        level_of = points.level_of_points(ids, decided.shares)
        for level in range(len(decided.shares)):
            here = np.flatnonzero(level_of == level)
            if level > table.levels.block:
                files |= _finer_cells(table.levels, level, voxels[here], records[here], ids[here])
                continue
            place = table.levels.places(np.array([cell.box.start]) - cell.volume.start, level)[0]
            name = f"spatial{level}/{'_'.join(str(n) for n in place)}"
            if level == table.levels.block:
                files[name] = points.encode_cell(records[here], ids[here])
            else:
                number = table.levels.number(level, place) + 1
                pieces.append((number, name, ids[here].tobytes(), records[here].tobytes()))
        if cell.index == 0:
            files["info"] = json.dumps(info_document(table, decided, chosen, self.limit), indent=1).encode()
        return _pieces_table(pieces), files

    def merge(self, rows: pa.Table) -> pa.Table:
        """The pieces of a cell become one, in whatever order."""
        numbers, names, ids, records = (rows[name].to_pylist() for name in ("id", "name", "ids", "records"))
        same: dict[int, list[int]] = {}
        for row, number in enumerate(numbers):
            same.setdefault(number, []).append(row)
        return _pieces_table(
            (number, names[found[0]], b"".join(ids[i] for i in found), b"".join(records[i] for i in found))
            for number, found in same.items()
        )

    def finish(self, cell: Cell, rows: pa.Table) -> Files:
        """Write the cells that hold several blocks."""
        files = {}
        for row in rows.to_pylist():
            ids = np.frombuffer(row["ids"], np.uint64)
            size = len(row["records"]) // max(len(ids), 1)
            records = np.frombuffer(row["records"], np.uint8).reshape(len(ids), size)
            files[row["name"]] = points.encode_cell(records, ids)
        return files


def _finer_cells(
    levels: points.Levels,
    level: int,
    voxels: npt.NDArray[np.int64],
    records: npt.NDArray[Any],
    ids: npt.NDArray[np.uint64],
) -> Files:
    """The files of a level whose cells lie within one block."""
    codes = morton_encode(levels.places(voxels, level), levels.shape(level))
    sharding = levels.sharding(level)
    keys, which = np.unique(codes, return_inverse=True)
    keys = keys[sharding.order(keys)]
    order = np.argsort(codes, kind="stable")
    found = np.searchsorted(codes[order], keys), np.searchsorted(codes[order], keys, "right")
    values = []
    for first, last in zip(*found, strict=True):
        members = order[first:last]
        values.append(points.encode_cell(records[members], ids[members]))
    sizes = np.array([len(value) for value in values], np.int64)
    files = encode_shards(sharding, keys, sizes, np.frombuffer(b"".join(values), np.uint8))
    return {f"spatial{level}/{name}": data for name, data in files.items()}


def _pieces_table(pieces: Iterable[tuple[int, str, bytes, bytes]]) -> pa.Table:
    columns = list(zip(*pieces, strict=True)) or [(), (), (), ()]
    types = (pa.uint64(), pa.string(), pa.large_binary(), pa.large_binary())
    names = ("id", "name", "ids", "records")
    return pa.table(
        {name: pa.array(list(c), kind) for name, c, kind in zip(names, columns, types, strict=True)}
    )


class Index(Task):
    """The id index and the segment index."""

    objects: Objects
    strays: Objects
    levels: Objects
    annotations: Annotations = Out()
    properties: list[str]

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Table(layout.info("objects")).id_blocks(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box] if field == "levels" else reads_of(box)

    def map(  # type: ignore[override]
        self, cell: Cell, objects: pa.Table, strays: pa.Table, levels: pa.Table
    ) -> Result:
        table = Table(cell.layout.info("objects"))
        decided = Decided.of(levels)
        covered = cell.layout.info("annotations").bounds
        rows = table.within(covered, with_strays(objects, strays, "lost_to_index"))
        if table.in_cells:
            rows = rows.filter(pa.array(_own(cell, table, table.shards(rows["id"].to_numpy()))))
        sharding = index_sharding(table, decided)
        rows = rows.take(pa.array(sharding.order(rows["id"].to_numpy())))
        ids = rows["id"].to_numpy()
        _check_ids(ids)
        records = records_of(rows, decided.choose(self.properties))
        files: Files = {}
        for key, values in (
            ("by_id", points.encode_each_by_id(records, ids)),
            (RELATIONSHIP, points.encode_each_of_segment(records, ids)),
        ):
            sizes = np.full(len(ids), values.shape[1], np.int64)
            made = encode_shards(sharding, ids, sizes, values.reshape(-1))
            files |= {f"{key}/{name}": data for name, data in made.items()}
        return files


def _own(cell: Cell, table: Table, shards: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which rows belong into this cell's file; the first cell also takes files for which there is no cell."""
    mine = shards == np.uint64(table.shard_at(cell.box))
    if cell.index == 0:
        for shard in np.unique(shards):
            if not table.space_of_shard(int(shard)).meets(cell.bounds):
                mine |= shards == shard
    return mine


def _check_ids(ids: npt.NDArray[np.uint64]) -> None:
    """Ids in the order of their files: the same one twice stands next to itself."""
    twice = ids[1:][ids[1:] == ids[:-1]]
    if len(twice):
        raise BadInput(
            f"annotate: the table has {len(twice)} ids more than once, {int(twice[0])} among them."
        )
