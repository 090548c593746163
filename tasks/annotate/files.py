"""Files of an annotation layer: its cells in space, its indexes by id and by related ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.data.info import ANNOTATIONS
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, vec
from chunkflow.kernels.precomputed import annotations as layers
from chunkflow.kernels.precomputed.morton import morton_encode
from chunkflow.kernels.precomputed.shards import Sharding, encode_shards
from chunkflow.task import Annotations, Cell, Files, Layout, Objects, Out, Result, SentRows, Task
from tasks.annotate.levels import LayerContent, finest_of, listed
from tasks.annotate.properties import Property, one_colour, records_of
from tasks.annotate.relations import related_of
from tasks.annotate.rows import MARGIN, Chosen, TableSpace, shown

EMPTY = 8
"""The size of a list without annotations."""
TYPES = {"point": "POINT", "line": "LINE", "box": "AXIS_ALIGNED_BOUNDING_BOX", "ellipsoid": "ELLIPSOID"}


class Writes(Task):
    """What the steps have in common that send annotations to where they are written."""

    objects: Objects
    levels: Objects
    annotations: Annotations = Out()
    chosen: Chosen

    def grid(self, layout: Layout, region: Box) -> Grid:
        return TableSpace.of(layout).readers(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box.grow(MARGIN)]

    def _shown(
        self, cell: Cell, objects: pa.Table, decided: LayerContent
    ) -> tuple[pa.Table, npt.NDArray[np.float32], npt.NDArray[Any]]:
        """The rows that the layer shows, where they are, and each as the layer stores it."""
        rows, places = shown(cell, objects, self.chosen)
        return rows, places, records_of(rows, places, decided.properties(self.chosen))


class SpatialCells(Writes):
    """Write the cells of the spatial index, and the layer's info."""

    shape = SentRows(row_by_row=True)

    def gathers(self, layout: Layout, region: Box) -> Grid:
        return TableSpace.of(layout).blocks(region)

    def map(self, cell: Cell, objects: pa.Table, levels: pa.Table) -> Result:
        decided = LayerContent.of(levels)
        rows, places, records = self._shown(cell, objects, decided)
        ids = rows["id"].to_numpy()
        grid = self.gathers(cell.layout, cell.bounds)
        level_of = layers.levels_by_hash(ids, decided.shares)
        level_of = np.minimum(level_of, finest_of(cell, self.chosen, places))
        sent = []
        for level in range(len(decided.shares)):
            here = np.flatnonzero(level_of == level)
            which, codes, blocks = listed(cell, self.chosen, places[here], level, grid)
            columns = {"cell": pa.array(blocks), "level": np.full(len(blocks), level, np.uint8)}
            columns |= {"code": codes, "id": ids[here][which], "record": _column(records[here][which])}
            sent.append(pa.table(columns))
        return pa.concat_tables(sent)

    def finish(self, cell: Cell, rows: pa.Table, levels: pa.Table) -> Files:
        table, decided = TableSpace.of(cell.layout), LayerContent.of(levels)
        files: Files = {}
        if cell.index == 0:
            files["info"] = json.dumps(info_document(table, decided, self.chosen), indent=1).encode()
        level_of = rows["level"].to_numpy() if len(rows) else np.zeros(0, np.uint8)
        for level in range(len(decided.shares)):
            places = self._places(cell, level)
            here = rows.filter(pa.array(level_of == level)) if len(rows) else rows
            files |= _cell_files(table.levels, level, places, here)
        return files

    def _places(self, cell: Cell, level: int) -> npt.NDArray[Any]:
        """The cells of a level that this block has: those that lie in it, or that begin in it, as far as what
        the job covers goes. All of them have files, as a missing one would be a question."""
        levels = TableSpace.of(cell.layout).levels
        inside = cell.box.shift(vec(-n for n in cell.volume.start)).coarsen(levels.cells[level])
        places = np.indices(inside.size).reshape(3, -1).T + np.array(inside.start)
        if level >= levels.block:
            return np.asarray(places)
        grid = self.gathers(cell.layout, cell.bounds)
        begin = np.maximum(levels.block_of(places, level), np.array(grid.first))
        own = (begin == np.array(grid.position(cell.index)) + np.array(grid.first)).all(axis=1)
        return np.asarray(places[own])


class ById(Writes):
    """The index by id."""

    shape = SentRows(row_by_row=True)

    def gathers(self, layout: Layout, region: Box) -> Grid:
        return TableSpace.of(layout).writers(region)

    def map(self, cell: Cell, objects: pa.Table, levels: pa.Table) -> Result:
        decided = LayerContent.of(levels)
        rows, _, records = self._shown(cell, objects, decided)
        ids = rows["id"].to_numpy()
        related = [related_of(rows, column) for column in self.chosen.relationships.values()]
        data, sizes = layers.encode_singles(records, related)
        ends = pa.py_buffer(np.concatenate([[0], np.cumsum(sizes)]))
        values = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(ids), [None, ends, pa.py_buffer(data)]
        )
        shards = sharding_of(decided.rows).locate(ids)[0]
        writers = len(self.gathers(cell.layout, cell.bounds))
        return pa.table({"cell": (shards % np.uint64(writers)).astype(np.int64), "id": ids, "value": values})

    def finish(self, cell: Cell, rows: pa.Table, levels: pa.Table) -> Files:
        sharding = sharding_of(LayerContent.of(levels).rows)
        own = range(cell.index, 1 << sharding.shard_bits, len(self.gathers(cell.layout, cell.bounds)))
        if not len(rows):
            return _empty_shards(sharding, own)
        rows = rows.take(pa.array(sharding.order(rows["id"].to_numpy()))).combine_chunks()
        ids = rows["id"].to_numpy()
        twice = ids[1:][ids[1:] == ids[:-1]]
        if len(twice):
            raise BadInput(
                f"annotate: the table has the id {int(twice[0])} more than once; each may be there once."
            )
        values = rows["value"].chunk(0)
        _, ends, data = values.buffers()
        ends = np.frombuffer(ends, np.int64)[values.offset : values.offset + len(ids) + 1]
        content = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
        return encode_shards(sharding, ids, np.diff(ends), content, own)


class Related(Writes):
    """The index by the ids of one relationship."""

    shape = SentRows(row_by_row=True)

    relationship: str

    def gathers(self, layout: Layout, region: Box) -> Grid:
        return TableSpace.of(layout).writers(region)

    def map(self, cell: Cell, objects: pa.Table, levels: pa.Table) -> Result:
        decided = LayerContent.of(levels)
        rows, places = shown(cell, objects, self.chosen)
        keys, counts = related_of(rows, self.chosen.relationships[self.relationship])
        which = np.repeat(np.arange(len(rows)), counts)
        records = records_of(rows, places, decided.properties(self.chosen))[which]
        shards = self._sharding(decided).locate(keys)[0]
        writers = len(self.gathers(cell.layout, cell.bounds))
        return pa.table(
            {
                "cell": (shards % np.uint64(writers)).astype(np.int64),
                "key": keys,
                "id": rows["id"].to_numpy()[which],
                "record": _column(records),
            }
        )

    def finish(self, cell: Cell, rows: pa.Table, levels: pa.Table) -> Files:
        sharding = self._sharding(LayerContent.of(levels))
        own = range(cell.index, 1 << sharding.shard_bits, len(self.gathers(cell.layout, cell.bounds)))
        if not len(rows):
            return _empty_shards(sharding, own)
        keys, ids = rows["key"].to_numpy(), rows["id"].to_numpy()
        shards, minishards = sharding.locate(keys)
        order = np.lexsort((ids, keys, minishards, shards))
        keys, ids, records = keys[order], ids[order], _records(rows)[order]
        first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        data, sizes = layers.encode_lists(records, ids, np.diff([*first, len(keys)]))
        return encode_shards(sharding, keys[first], sizes, data, own)

    def _sharding(self, decided: LayerContent) -> Sharding:
        return sharding_of(decided.related.get(self.relationship, 0))


def _cell_files(levels: layers.Levels, level: int, places: npt.NDArray[np.int64], rows: pa.Table) -> Files:
    """The files of these cells of a level, from their annotations."""
    codes = morton_encode(places, levels.shape(level))
    order = np.argsort(codes)
    codes, places = codes[order], places[order]
    data, sizes = _lists(codes, rows)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    if not levels.sharded(level):
        return {
            layers.cell_name(level, place): data[ends[n] : ends[n + 1]].tobytes()
            for n, place in enumerate(places.tolist())
        }
    sharding = levels.sharding(level)
    shards = np.unique(sharding.locate(codes)[0]).tolist()
    kept = [int(n) for n in sharding.order(codes) if sizes[n] > EMPTY]
    content = np.concatenate([data[:0], *(data[ends[n] : ends[n + 1]] for n in kept)])
    files = encode_shards(sharding, codes[kept], sizes[kept], content, shards)
    return {f"spatial{level}/{name}": file for name, file in files.items()}


def _lists(
    codes: npt.NDArray[np.uint64], rows: pa.Table
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The list of each of these cells, and their sizes."""
    if not len(rows):
        nothing, none = np.zeros((0, 0), np.uint8), np.zeros(0, np.uint64)
        return layers.encode_lists(nothing, none, np.zeros(len(codes), np.int64))
    code_of, ids = rows["code"].to_numpy(), rows["id"].to_numpy()
    order = np.lexsort((ids, layers.draw_of(ids), code_of))
    order = order[np.isin(code_of[order], codes)]  # others lie in the block, but beyond what the job covers
    first, last = (np.searchsorted(code_of[order], codes, side) for side in ("left", "right"))
    return layers.encode_lists(_records(rows)[order], ids[order], last - first)


def _column(records: npt.NDArray[np.uint8]) -> pa.Array:
    """Rows of bytes as a column."""
    data = np.ascontiguousarray(records)
    return pa.Array.from_buffers(pa.binary(data.shape[1]), len(data), [None, pa.py_buffer(data)])


def _records(rows: pa.Table) -> npt.NDArray[np.uint8]:
    """The inverse of `_column`."""
    column = rows["record"].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    width = column.type.byte_width
    data = np.frombuffer(column.buffers()[1], np.uint8)
    return data[column.offset * width : (column.offset + len(column)) * width].reshape(-1, width)


def _empty_shards(sharding: Sharding, own: range) -> Files:
    nothing = np.zeros(0, np.uint64)
    return encode_shards(sharding, nothing, nothing.astype(np.int64), nothing.view(np.uint8), own)


def sharding_of(count: int) -> Sharding:
    """Of an index of so many entries: about 256 share a minishard, whose index is read at once, and about
    2**18 a file."""
    shards = (count >> 18).bit_length()
    return Sharding("murmurhash3_x86_128", 0, (count >> (8 + shards)).bit_length(), shards)


def info_document(table: TableSpace, decided: LayerContent, chosen: Chosen) -> dict[str, Any]:
    """The layer's `info`."""
    info, levels = table.info, table.levels
    spatial = []
    for level in range(len(decided.shares)):
        entry: dict[str, Any] = {
            "key": f"spatial{level}",
            "grid_shape": list(levels.shape(level)),
            "chunk_size": list(levels.cells[level]),
            "limit": chosen.limit,
        }
        if levels.sharded(level):
            entry["sharding"] = levels.sharding(level).document()
        spatial.append(entry)
    properties: list[Property] = decided.properties(chosen)
    colour = one_colour(decided.seen, chosen, decided.rows)
    document = {
        "@type": ANNOTATIONS,
        "dimensions": {axis: [float(f"{v}e-9"), "m"] for axis, v in zip("xyz", info.voxel_size, strict=True)},
        "lower_bound": [float(n) for n in info.volume.start],
        # Some readers find only cells that lie within the bounds as a whole.
        "upper_bound": [float(a + n) for a, n in zip(info.volume.start, levels.extent, strict=True)],
        "annotation_type": TYPES[chosen.kind],
        "properties": [p.document() for p in properties],
        "relationships": [
            _index(name, f"index/{name}", decided.related.get(name, 0)) for name in chosen.relationships
        ],
        "by_id": _index("", "index/by_id", decided.rows),
        "spatial": spatial,
    }
    return document | ({"color": colour} if colour else {})


def _index(name: str, key: str, count: int) -> dict[str, Any]:
    entry = {"key": key, "sharding": sharding_of(count).document()}
    return {"id": name} | entry if name else entry
