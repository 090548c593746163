"""The files of an annotation layer: the cells of its spatial index, and its id and segment indexes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, vec
from chunkflow.kernels import annotations as points
from chunkflow.kernels.morton import morton_encode
from chunkflow.kernels.shards import encode_shards
from chunkflow.task import Annotations, Cell, Files, Layout, Objects, Out, Result, Task
from tasks.annotation_rows import (
    MARGIN,
    RELATIONSHIP,
    Decided,
    Table,
    index_sharding,
    info_document,
    lost_rows,
    records_of,
    with_strays,
)


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
        return [box.grow(MARGIN)] if field == "objects" else [box]

    def map(  # type: ignore[override]
        self, cell: Cell, objects: pa.Table, strays: pa.Table, levels: pa.Table
    ) -> Result:
        table = Table(cell.layout.info("objects"))
        decided = Decided.of(levels)
        chosen = decided.choose(self.properties)
        rows = table.within(cell.box, with_strays(objects, lost_rows(strays, "lost_to_cells")))
        ids, records, voxels = rows["id"].to_numpy(), records_of(rows, chosen), table.voxels(rows)
        files: Files = {}
        pieces = []
        level_of = points.level_of_points(ids, decided.shares)
        inside = cell.box.shift(vec(-n for n in cell.volume.start))
        for level in range(len(decided.shares)):
            here = np.flatnonzero(level_of == level)
            if level >= table.levels.block:
                files |= _cells(table.levels, level, inside, voxels[here], records[here], ids[here])
                continue
            place = inside.coarsen(table.levels.cells[level]).start
            number = table.levels.number(level, place) + 1
            name = points.cell_name(level, place)
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


def _cells(
    levels: points.Levels,
    level: int,
    inside: Box,
    voxels: npt.NDArray[np.int64],
    records: npt.NDArray[Any],
    ids: npt.NDArray[np.uint64],
) -> Files:
    """The files of a level whose cells lie within one block (`inside`, from the volume's first voxel): all of
    them, as a missing one would be a question."""
    shape, box = levels.shape(level), inside.coarsen(levels.cells[level])
    places = np.indices(box.size).reshape(3, -1).T + np.array(box.start)
    codes = morton_encode(places, shape)
    code_of = morton_encode(levels.places(voxels, level), shape)
    order = np.argsort(code_of, kind="stable")
    first, last = (np.searchsorted(code_of[order], codes, side) for side in ("left", "right"))
    members = [order[a:b] for a, b in zip(first, last, strict=True)]
    if not levels.sharded(level):
        return {
            points.cell_name(level, place): points.encode_cell(records[those], ids[those])
            for place, those in zip(places.tolist(), members, strict=True)
        }
    sharding = levels.sharding(level)
    kept = [int(n) for n in sharding.order(codes) if len(members[n])]
    values = [points.encode_cell(records[members[n]], ids[members[n]]) for n in kept]
    sizes = np.array([len(value) for value in values], np.int64)
    data = np.frombuffer(b"".join(values), np.uint8)
    shards = np.unique(sharding.locate(codes)[0]).tolist()
    files = encode_shards(sharding, codes[kept], sizes, data, shards)
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
        return [box]

    def map(  # type: ignore[override]
        self, cell: Cell, objects: pa.Table, strays: pa.Table, levels: pa.Table
    ) -> Result:
        table = Table(cell.layout.info("objects"))
        decided = Decided.of(levels)
        covered = cell.layout.info("annotations").bounds
        lost = lost_rows(strays, "lost_to_index")
        if table.in_cells:
            mine = np.uint64(table.shard_at(cell.box))
            objects = objects.filter(pa.array(table.shards(objects["id"].to_numpy()) == mine))
            lost = lost.filter(pa.array(_taken(cell, table, table.shards(lost["id"].to_numpy()))))
        rows = table.within(covered, with_strays(objects, lost))
        sharding = index_sharding(table, decided)
        rows = rows.take(pa.array(sharding.order(rows["id"].to_numpy())))
        ids = rows["id"].to_numpy()
        _check_ids(ids)
        records = records_of(rows, decided.choose(self.properties))
        own = [table.shard_at(cell.box)] if table.in_cells else range(1 << sharding.shard_bits)
        files: Files = {}
        for key, values in (
            ("by_id", points.encode_each_by_id(records, ids)),
            (RELATIONSHIP, points.encode_each_of_segment(records, ids)),
        ):
            sizes = np.full(len(ids), values.shape[1], np.int64)
            made = encode_shards(sharding, ids, sizes, values.reshape(-1), own)
            files |= {f"{key}/{name}": data for name, data in made.items()}
        return files


def _taken(cell: Cell, table: Table, shards: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which strays belong into this cell's file; the first cell also takes those whose file has no cell."""
    taken = shards == np.uint64(table.shard_at(cell.box))
    if cell.index == 0:
        for shard in np.unique(shards):
            if not table.space_of_shard(int(shard)).meets(cell.bounds):
                taken |= shards == shard
    return np.asarray(taken)


def _check_ids(ids: npt.NDArray[np.uint64]) -> None:
    """Ids in the order of their files: the same one twice stands next to itself."""
    twice = ids[1:][ids[1:] == ids[:-1]]
    if len(twice):
        raise BadInput(
            f"annotate: the table has {len(twice)} ids more than once, {int(twice[0])} among them."
        )
