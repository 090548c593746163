"""Points as a precomputed annotation layer has them: cells in levels, who lies in which, and the bytes.

1. Level 0 is one cell that holds the volume; each further level halves the physically longest axes, down to
   cells of 64 voxels, none thinner than 4. Cells count from the volume's first voxel; all levels end alike.
2. A block is the largest cell that one worker takes at once; finer cells lie in it, coarser ones hold blocks.
3. Levels 0 to l together take a share T_l of the points: min(1, T_(l-1) + limit / largest count in a cell);
   a point lies in the first level whose T its hashed id is below. Shares are integers out of 2**53.
4. In a cell, points stand in the order of their hash, so that the first few are a fair sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.hashing import mix
from chunkflow.kernels.shards import Sharding

Vec = tuple[int, int, int]
Ids = NDArray[np.uint64]
Voxels = NDArray[np.int64]
Records = NDArray[Any]

FINEST = 64
THINNEST = 8
BLOCK_VOXELS = 1 << 30
MOST_BLOCKS_BITS = 15
MOST_FILES = 1000
ALL = 1 << 53
PROPERTY_TYPES = {
    "float32": "<f4",
    "uint32": "<u4",
    "int32": "<i4",
    "uint16": "<u2",
    "int16": "<i2",
    "uint8": "|u1",
    "int8": "|i1",
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

    def places(self, voxels: Voxels, level: int) -> Voxels:
        """The cell of each voxel, both counted from the volume's first."""
        return voxels // np.array(self.cells[level], np.int64)

    def number(self, level: int, place: Sequence[int]) -> int:
        """A number of its own, from 0, for each cell of all levels."""
        before = sum(int(np.prod(self.shape(i), dtype=np.int64)) for i in range(level))
        nx, ny, _ = self.shape(level)
        return before + int(place[0]) + nx * (int(place[1]) + ny * int(place[2]))

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


def levels_of(size: Vec, voxel_size: Sequence[float], one_block: bool = False) -> Levels:
    """The levels of a volume; with `one_block` it is not cut."""
    halvings = [(0, 0, 0)]
    while max(-(-n >> k) for n, k in zip(size, halvings[-1], strict=True)) > FINEST:
        cell = [-(-n >> k) for n, k in zip(size, halvings[-1], strict=True)]
        lengths = [c * v if c > THINNEST else 0.0 for c, v in zip(cell, voxel_size, strict=True)]
        x, y, z = (k + (2 * length > max(lengths)) for k, length in zip(halvings[-1], lengths, strict=True))
        halvings.append((x, y, z))
    cells = tuple(_cell(size, halvings[-1], done) for done in halvings)
    x, y, z = cells[0]
    largest = max(BLOCK_VOXELS, (x * y * z) >> MOST_BLOCKS_BITS)
    fits = (i for i, (x, y, z) in enumerate(cells) if x * y * z <= largest)
    return Levels(size, cells, 0 if one_block else next(fits, len(cells) - 1))


def _cell(size: Vec, halvings: Vec, done: Vec) -> Vec:
    """A cell after some of its halvings, such that after all of them it still is a whole number of voxels."""
    x, y, z = ((-(-n >> k)) << (k - d) for n, k, d in zip(size, halvings, done, strict=True))
    return x, y, z


def block_code_bits(bits: int) -> int:
    """How many low bits of the Morton codes (of `bits` bits) one file of an id index spans."""
    return min(bits, max(BLOCK_VOXELS.bit_length() - 1, bits - MOST_BLOCKS_BITS))


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


def level_of_points(ids: Ids, taken: Sequence[int]) -> NDArray[np.intp]:
    """The level that each point lies in."""
    return np.searchsorted(np.array(taken, np.uint64), draw_of(ids), side="right")


def record_type(types: Sequence[str]) -> np.dtype[Any]:
    """One point: place and properties `p0`, `p1` …, those of four bytes before those of two and one."""
    sizes = [np.dtype(PROPERTY_TYPES[t]).itemsize for t in types]
    if sizes != sorted(sizes, reverse=True):
        raise ValueError("properties must stand in the order of their sizes, largest first")
    fields: list[Any] = [("point", "<f4", (3,))]
    fields += [(f"p{i}", PROPERTY_TYPES[t]) for i, t in enumerate(types)]
    padding = -sum(sizes) % 4
    return np.dtype([*fields, ("padding", "|u1", (padding,))] if padding else fields)


def cell_name(level: int, place: Sequence[int]) -> str:
    """A cell's file, where its level is not sharded."""
    return f"spatial{level}/{'_'.join(str(n) for n in place)}"


def encode_list(records: Records, ids: Ids) -> bytes:
    """Several points, as a cell or a segment has them: count, records, ids."""
    return b"".join([np.uint64(len(ids)).tobytes(), records.tobytes(), ids.astype("<u8").tobytes()])


def encode_cell(records: Records, ids: Ids) -> bytes:
    """A cell's points, in the order of their hashes."""
    order = np.lexsort((ids, draw_of(ids)))
    return encode_list(records[order], ids[order])


def encode_each_by_id(records: Records, ids: Ids) -> NDArray[np.uint8]:
    """Each point as the id index has it, a row of bytes: record, and its one segment, named like itself."""
    each = np.zeros(len(ids), [("record", records.dtype), ("count", "<u4"), ("segment", "<u8")])
    each["record"], each["count"], each["segment"] = records, 1, ids
    return each.view(np.uint8).reshape(len(ids), each.dtype.itemsize)


def encode_each_of_segment(records: Records, ids: Ids) -> NDArray[np.uint8]:
    """Each point as the list of its segment's points, a row of bytes: that list has this one alone."""
    each = np.zeros(len(ids), [("count", "<u8"), ("record", records.dtype), ("id", "<u8")])
    each["count"], each["record"], each["id"] = 1, records, ids
    return each.view(np.uint8).reshape(len(ids), each.dtype.itemsize)
