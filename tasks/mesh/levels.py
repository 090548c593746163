"""Meshes in several levels of detail in Neuroglancer's multi-resolution format, sharded.

1. Each block's surfaces are simplified, and the result again, once for each coarser level, the vertices in
   the block's border planes fixed in all of them.
2. Each level is cut into the cells of its own grid, which are twice as wide as those of the level before;
   the cells of the coarsest are the blocks. But for the finest they are cut in the middle as well, as the
   format asks. Each piece in a cell is a fragment, compressed by Draco.
3. A file (a shard) has all objects whose ids fall into a range, or, where ids say nothing of places, whose
   hashes do. A block sends its fragments to the cells that make these files, in rows.
4. `finish` writes each object's fragments, by level and then by the Morton code of their cells, and after
   them its manifest, which says where they are.

The lattice of the fragments begins at voxel centres, as the blocks' surfaces do. Surfaces that are closed
where the volume begins lie half a voxel before it, and are moved onto it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import gcd
from typing import Any

import DracoPy
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.chunk import Chunk
from chunkflow.data.info import LabelsInfo, LayerInfo
from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.kernels.precomputed.morton import code_bits, morton_decode, morton_encode
from chunkflow.kernels.precomputed.shards import Sharding, encode_shards
from chunkflow.kernels.surfaces.cutting import cut, fragments
from chunkflow.task import Cell, Files, Layout, SentRows
from tasks.mesh.blocks import OfBlocks, Surface, block_surfaces, error_of

MOST_LEVELS = 3
COARSER = 3.0
"""How many times as far a level's surfaces may lie off as those of the level before."""
BITS = 10
"""Of a vertex's coordinate in its cell: the format has 10 or 16."""
COMPRESSION = 7
"""Draco's, from 0 to 10."""
SHARD_BITS = 27
"""The voxels for each of which there is a file, as a power of two: meshes of 512³ voxels of dense neurites
take about 40 MB."""
MINISHARD_BITS = 6
_EXTENT = (1 << 21, 1 << 21, 1 << 21)

_SCHEMA = pa.schema(
    [
        ("cell", pa.int64()),
        ("id", pa.uint64()),
        ("level", pa.uint8()),
        ("place", pa.uint64()),
        ("data", pa.large_binary()),
    ]
)


class MeshLevels(OfBlocks):
    """Write meshes in several levels of detail: a file for each range of ids or hashes."""

    shape = SentRows()

    def gathers(self, layout: Layout, region: Box) -> Grid:
        shards = 1 << sharding_of(layout.labels("labels")).shard_bits
        return Grid.lattice(Box((0, 0, 0), (shards, 1, 1)), (1, 1, 1))

    def folder_info(self, field: str, layout: Layout) -> dict[str, Any]:
        x, y, z = layout.info("labels").voxel_size
        return {
            "@type": "neuroglancer_multilod_draco",
            "vertex_quantization_bits": BITS,
            "transform": [x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0],
            "lod_scale_multiplier": 1,
            "sharding": sharding_of(layout.labels("labels")).document(),
        }

    def map(self, cell: Cell, labels: Chunk) -> pa.Table:
        sizes = cell_sizes(self.block)
        errors = [error_of(self.error, cell.voxel_size)]
        for _ in sizes[1:]:
            errors.append((errors[-1] or error_of(None, cell.voxel_size)) * COARSER)
        origin = np.array(_origin(cell.volume, self.block))
        first = (np.array(cell.box.start) - origin) // self.block
        ids: list[int] = []
        levels: list[int] = []
        places: list[tuple[int, int, int]] = []
        data: list[bytes] = []
        for name, surfaces in block_surfaces(labels, cell, errors):
            for level, surface in enumerate(surfaces):
                for place, encoded in _fragments(surface, level, sizes[level], origin, first, self.block):
                    ids.append(name)
                    levels.append(level)
                    places.append(place)
                    data.append(encoded)
        keys = np.array(ids, np.uint64)
        shards, _ = sharding_of(cell.layout.labels("labels")).locate(keys)
        columns = {
            "cell": shards.astype(np.int64),
            "id": keys,
            "level": np.array(levels, np.uint8),
            "place": morton_encode(np.array(places, np.int64).reshape(-1, 3), _EXTENT),
            "data": pa.array(data, pa.large_binary()),
        }
        return pa.table(columns, schema=_SCHEMA)

    def finish(self, cell: Cell, rows: pa.Table) -> Files:
        """The file of one shard."""
        if not len(rows):
            return {}
        info = cell.layout.labels("labels")
        sharding = sharding_of(info)
        ids, levels = rows["id"].to_numpy(), rows["level"].to_numpy()
        order = np.lexsort((rows["place"].to_numpy(), levels, ids))
        ids, levels, places = ids[order], levels[order], rows["place"].to_numpy()[order]
        pieces = _pieces(rows["data"].combine_chunks(), order)
        sizes = np.array([len(piece) for piece in pieces], np.int64)
        head = self._manifest_head(info)
        begins = np.flatnonzero(np.diff(ids, prepend=np.uint64(0)))  # no id is 0
        spans = list(pairwise([*begins.tolist(), len(ids)]))
        values: list[bytes | memoryview] = []
        before, whole = [], []
        for n in sharding.order(ids[begins]).tolist():
            part = slice(*spans[n])
            manifest = head + _fragment_lists(
                levels[part], places[part], sizes[part], len(cell_sizes(self.block))
            )
            values += [*pieces[part], manifest]
            before.append(int(sizes[part].sum()))
            whole.append(before[-1] + len(manifest))
        keys = ids[begins]
        return encode_shards(
            sharding,
            keys[sharding.order(keys)],
            np.array(whole),
            np.frombuffer(b"".join(values), np.uint8),
            before=np.array(before),
        )

    def _manifest_head(self, info: LayerInfo) -> bytes:
        """What the manifests of all objects begin with. Lengths are in voxels; a level's detail is in their
        longest side, as Neuroglancer measures pixels."""
        sizes = cell_sizes(self.block)
        finest = (self.error or error_of(None, info.voxel_size)) / max(info.voxel_size)
        origin = np.array(_origin(info.volume, self.block)) + 0.5
        return b"".join(
            [
                np.array([sizes[0], origin], "<f4").tobytes(),
                np.array([len(sizes)], "<u4").tobytes(),
                np.array([finest * COARSER**level for level in range(len(sizes))], "<f4").tobytes(),
                np.zeros((len(sizes), 3), "<f4").tobytes(),
            ]
        )


def cell_sizes(block: Vec) -> list[Vec]:
    """The cells of each level, the finest first: the block, halved as long as it can be, twice at most."""
    halvings = min(MOST_LEVELS - 1, (gcd(*block) & -gcd(*block)).bit_length() - 1)
    return [vec(n >> level for n in block) for level in range(halvings, -1, -1)]


def sharding_of(labels: LabelsInfo) -> Sharding:
    """Which file has which object: told from the volume alone."""
    if labels.connected:
        bits = code_bits(labels.volume.size)
        low = min(bits, SHARD_BITS)
        minishards = min(low, MINISHARD_BITS)
        return Sharding("identity", low - minishards, minishards, bits - low)
    shards = max(0, (labels.volume.voxels - 1).bit_length() - SHARD_BITS)
    return Sharding("murmurhash3_x86_128", 0, MINISHARD_BITS, shards)


def _origin(volume: Box, block: Vec) -> Vec:
    """The low corner of the first block."""
    return vec(a // n * n for a, n in zip(volume.start, block, strict=True))


def _fragments(
    surface: Surface,
    level: int,
    size: Vec,
    origin: npt.NDArray[np.int64],
    block_place: npt.NDArray[np.int64],
    block: Vec,
) -> Iterator[tuple[tuple[int, int, int], bytes]]:
    """A surface of one block, by the cells of its level: their places, counted from the volume's first block,
    and what is in them."""
    points, triangles = surface
    halves = 1 if level == 0 else 2
    corners = cut((points - (origin + 0.5)) * halves / size, triangles) / halves
    cells = np.array(block, np.int64) // np.array(size, np.int64)
    first = block_place * cells
    for place, vertices, faces in fragments(corners, first, first + cells, BITS):
        # As floats that Draco quantises in steps of 1: Neuroglancer knows no other whole numbers.
        encoded = DracoPy.encode(
            vertices.astype(np.float32),
            faces,
            quantization_bits=BITS,
            quantization_range=(1 << BITS) - 1,
            quantization_origin=np.zeros(3, np.float32),
            compression_level=COMPRESSION,
        )
        yield place, encoded


def _pieces(data: pa.LargeBinaryArray, order: npt.NDArray[np.intp]) -> list[memoryview]:
    """Each row's bytes where they lie, in this order."""
    _, offsets, content = data.buffers()
    ends = np.frombuffer(offsets, np.int64)[data.offset :].tolist()
    view = memoryview(content)
    return [view[ends[n] : ends[n + 1]] for n in order.tolist()]


def _fragment_lists(
    levels: npt.NDArray[np.uint8],
    places: npt.NDArray[np.uint64],
    sizes: npt.NDArray[np.int64],
    count: int,
) -> bytes:
    """How many fragments each level has, and their places and sizes: those around a fragment of the level
    before are named even where they are empty, so that readers find their way down."""
    numbers, lists = [], []
    above = np.zeros(0, np.uint64)
    for level in range(count):
        own = places[levels == level]
        named = np.union1d(own, above)
        filled = np.zeros(len(named), np.int64)
        filled[np.searchsorted(named, own)] = sizes[levels == level]
        numbers.append(len(named))
        lists += [morton_decode(named, _EXTENT).T.astype("<u4").tobytes(), filled.astype("<u4").tobytes()]
        above = np.unique(named >> np.uint64(3))
    return np.array(numbers, "<u4").tobytes() + b"".join(lists)
