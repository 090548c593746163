"""A precomputed annotation layer's cells in levels, which annotations lie in which level, and the bytes.

1. Level 0 is one cell that holds the volume; each further level halves the physically longest axes, down to
   cells of 64 voxels, none thinner than 4. Cells count from the volume's first voxel; all levels end alike.
2. A block is the largest cell that one worker takes at once; finer cells lie in one, coarser begin in one.
3. Levels 0 to l together take a share T_l of the annotations: min(1, T_(l-1) + limit / largest count in a
   cell); an annotation lies in the first level with T above its hashed id. Shares are integers out of 2**53.
4. One that would stand in more than 64 cells of its level lies in the finest level where it does not.
5. In a cell, annotations stand in the order of their hash, so that the first few are a fair sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled
from chunkflow.kernels.hashing import mix
from chunkflow.kernels.precomputed.crossings import around
from chunkflow.kernels.precomputed.shards import Sharding

Vec = tuple[int, int, int]
Ids = NDArray[np.uint64]
VoxelPlaces = NDArray[np.int64]
Records = NDArray[Any]
Bytes = NDArray[np.uint8]

FINEST = 64
THINNEST = 8
BLOCK_VOXELS = 1 << 30
LEAST_BLOCK_VOXELS = 1 << 24
USUAL_BLOCKS_BITS = 6
MOST_BLOCKS_BITS = 15
MOST_FILES = 1000
MOST_CELLS = 64
ALL = 1 << 53
PROPERTY_TYPES = {
    "float32": "<f4",
    "uint32": "<u4",
    "int32": "<i4",
    "uint16": "<u2",
    "int16": "<i2",
    "uint8": "|u1",
    "int8": "|i1",
    "rgb": "(3,)|u1",
    "rgba": "(4,)|u1",
}


@dataclass(frozen=True)
class Levels:
    """The cells of every level, coarse to fine, of a volume of `size` voxels; `block` is that of blocks."""

    size: Vec
    cells: tuple[Vec, ...]
    block: int

    def shape(self, level: int) -> Vec:
        x, y, z = (-(-n // c) for n, c in zip(self.size, self.cells[level], strict=True))
        return x, y, z

    @property
    def extent(self) -> Vec:
        """What the cells of every level cover, a little more than the volume."""
        return self.cells[0]

    def places(self, voxels: VoxelPlaces, level: int) -> VoxelPlaces:
        """The cell of each voxel, both counted from the volume's first."""
        return voxels // np.array(self.cells[level], np.int64)

    def block_of(self, places: VoxelPlaces, level: int) -> VoxelPlaces:
        """The block that each of these cells of a level lies in, or begins in."""
        return places * np.array(self.cells[level], np.int64) // np.array(self.cells[self.block], np.int64)

    def sharded(self, level: int) -> bool:
        """Levels of few cells have a file for each, which any web server can serve."""
        x, y, z = self.shape(level)
        return level > self.block and x * y * z > MOST_FILES

    def sharding(self, level: int) -> Sharding:
        """Of the cells of a level finer than the blocks: no file has cells of two blocks."""
        bits = [(n - 1).bit_length() for n in self.shape(level)]
        inside = [
            (b // c).bit_length() - 1 for b, c in zip(self.cells[self.block], self.cells[level], strict=True)
        ]
        order = [(i, axis) for i in range(max(bits)) for axis in range(3) if i < bits[axis]]
        shared = next((n for n, (i, axis) in enumerate(order) if i >= inside[axis]), len(order))
        minishards = max(0, shared - 8)
        return Sharding("identity", shared - minishards, minishards, len(order) - shared)


def levels_of(size: Vec, voxel_size: Sequence[float]) -> Levels:
    """The levels of a volume."""
    halvings = [(0, 0, 0)]
    while max(-(-n >> k) for n, k in zip(size, halvings[-1], strict=True)) > FINEST:
        cell = [-(-n >> k) for n, k in zip(size, halvings[-1], strict=True)]
        lengths = [c * v if c > THINNEST else 0.0 for c, v in zip(cell, voxel_size, strict=True)]
        x, y, z = (k + (2 * length > max(lengths)) for k, length in zip(halvings[-1], lengths, strict=True))
        halvings.append((x, y, z))
    cells = tuple(_cell(size, halvings[-1], done) for done in halvings)
    x, y, z = cells[0]
    usual = min(BLOCK_VOXELS, max(LEAST_BLOCK_VOXELS, (x * y * z) >> USUAL_BLOCKS_BITS))
    largest = max(usual, (x * y * z) >> MOST_BLOCKS_BITS)
    fits = (i for i, (x, y, z) in enumerate(cells) if x * y * z <= largest)
    return Levels(size, cells, next(fits, len(cells) - 1))


def _cell(size: Vec, halvings: Vec, done: Vec) -> Vec:
    """A cell after some of its halvings, such that after all of them it still is a whole number of voxels."""
    x, y, z = ((-(-n >> k)) << (k - d) for n, k, d in zip(size, halvings, done, strict=True))
    return x, y, z


def draw_of(ids: Ids) -> Ids:
    """A number below 2**53 for each id, which decides its level and its place in a cell."""
    stepped = np.ascontiguousarray(ids, np.uint64) + np.uint64(0x9E3779B97F4A7C15)  # or 0 would be drawn as 0
    return np.asarray(mix(stepped) >> np.uint64(11))


def shares(largest: Sequence[int], limit: int) -> list[int]:
    """T of each level, from the largest count of a cell in each; the last level takes all that is left."""
    taken: list[int] = []
    for count in largest:
        before = taken[-1] if taken else 0
        taken.append(min(ALL, before + limit * ALL // max(count, 1)))
        if taken[-1] == ALL:
            return taken
    return [*taken[:-1], ALL]


def levels_by_hash(ids: Ids, taken: Sequence[int]) -> NDArray[np.intp]:
    """The level that each annotation is drawn for."""
    return np.searchsorted(np.array(taken, np.uint64), draw_of(ids), side="right")


def finest_levels(low: NDArray[Any], high: NDArray[Any], levels: Levels) -> NDArray[np.intp]:
    """The finest level in which each annotation, from `low` to `high`, stands in no more than MOST_CELLS."""
    finest = np.zeros(len(low), np.intp)
    for level in range(1, len(levels.cells)):
        first, last = around(low, high, levels.cells[level], levels.shape(level))
        finest[np.prod(last - first + 1, axis=1) <= MOST_CELLS] = level
    return finest


def record_type(numbers: int, types: Sequence[str]) -> np.dtype[Any]:
    """One annotation: `numbers` of place, and properties `p0`, `p1` …, those of four bytes before those of
    two, and colours with those of one."""
    widths = [np.dtype(PROPERTY_TYPES[t]).base.itemsize for t in types]
    if widths != sorted(widths, reverse=True):
        raise ValueError("properties must stand in the order of their sizes, largest first")
    fields: list[Any] = [("place", "<f4", (numbers,))]
    fields += [(f"p{i}", PROPERTY_TYPES[t]) for i, t in enumerate(types)]
    padding = -np.dtype(fields).itemsize % 4
    return np.dtype([*fields, ("padding", "|u1", (padding,))] if padding else fields)


def cell_name(level: int, place: Sequence[int]) -> str:
    """A cell's file, where its level is not sharded."""
    return f"spatial{level}/{'_'.join(str(n) for n in place)}"


def encode_lists(records: Bytes, ids: Ids, counts: NDArray[np.int64]) -> tuple[Bytes, NDArray[np.int64]]:
    """Lists of annotations as cells and related objects have them: count, records, ids. Each list has the
    next of `counts` rows of `records` and `ids`; returns the lists one after another, and their sizes."""
    width = records.shape[1]
    sizes = 8 + counts * (width + 8)
    data = np.empty(int(sizes.sum()), np.uint8)
    words = np.ascontiguousarray(ids, "<u8").view(np.uint8).reshape(-1, 8)
    _write_lists(data, np.ascontiguousarray(records), words, counts.astype(np.int64))
    return data, sizes


def encode_singles(
    records: Bytes, related: Sequence[tuple[Ids, NDArray[np.int64]]]
) -> tuple[Bytes, NDArray[np.int64]]:
    """Annotations as the id index has them: record, then for each relationship the number of ids and the ids
    (`related` has, for each, all ids one after another, and how many each annotation has)."""
    sizes = np.full(len(records), records.shape[1] + 4 * len(related), np.int64)
    for _, counts in related:
        sizes += 8 * counts
    starts = np.cumsum(sizes) - sizes
    data = np.empty(int(sizes.sum()), np.uint8)
    _write_rows(data, starts, np.ascontiguousarray(records))
    starts = starts + records.shape[1]
    for ids, counts in related:
        words = np.ascontiguousarray(ids, "<u8").view(np.uint8).reshape(-1, 8)
        _write_counted(data, starts, words, counts.astype(np.int64))
        starts = starts + 4 + 8 * counts
    return data, sizes


@compiled
def _write_lists(data: Any, records: Any, ids: Any, counts: Any) -> None:
    at, row = 0, 0
    for count in counts:
        for byte in range(8):
            data[at + byte] = (count >> (8 * byte)) & 255
        at += 8
        for i in range(row, row + count):
            for byte in range(records.shape[1]):
                data[at + byte] = records[i, byte]
            at += records.shape[1]
        for i in range(row, row + count):
            for byte in range(8):
                data[at + byte] = ids[i, byte]
            at += 8
        row += count


@compiled
def _write_rows(data: Any, starts: Any, rows: Any) -> None:
    for i in range(len(rows)):
        for byte in range(rows.shape[1]):
            data[starts[i] + byte] = rows[i, byte]


@compiled
def _write_counted(data: Any, starts: Any, ids: Any, counts: Any) -> None:
    row = 0
    for i in range(len(starts)):
        at = starts[i]
        for byte in range(4):
            data[at + byte] = (counts[i] >> (8 * byte)) & 255
        at += 4
        for _ in range(counts[i]):
            for byte in range(8):
                data[at + byte] = ids[row, byte]
            at += 8
            row += 1
