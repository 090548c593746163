"""Files of image and label layers: a storage chunk each, or shards of a cube of 8 chunks along each side.

Where a sharded layer has fewer chunks along an axis, its shards do too; a shard is a range of Morton codes of
chunks, so it is written whole by the one cell that fills its space.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from math import prod
from typing import Any

import cloudvolume.chunks
import numpy as np
import numpy.typing as npt

from chunkflow.chunk import Chunk
from chunkflow.data.info import SHARD_SIDE, VoxelsInfo
from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.kernels.precomputed.morton import code_bits, morton_encode
from chunkflow.kernels.precomputed.shards import Sharding, encode_shards

MINISHARD_BITS = 6
"""The chunks whose places are read at once: a cube of 4 along each side."""
MOST_FILES = 10**6
"""A layer of more storage chunks is sharded unless the job says otherwise."""
BLOCK = (8, 8, 8)
"""Of compressed_segmentation."""


def chunks_of(bounds: Box, storage: Vec) -> Vec:
    """How many storage chunks a layer has along each axis."""
    return Grid.chunks(bounds, storage).shape


def sharding_of(bounds: Box, storage: Vec, compressed: bool) -> Sharding:
    """Which chunk lies in which file; the same however a job is cut."""
    shape = chunks_of(bounds, storage)
    within = code_bits(vec(min(n, SHARD_SIDE) for n in shape))
    preshift = min(MINISHARD_BITS, within)
    return Sharding(
        "identity", preshift, within - preshift, code_bits(shape) - within, "gzip" if compressed else "raw"
    )


def chunk_files(info: VoxelsInfo, chunk: Chunk) -> Iterator[tuple[str, bytes]]:
    """The files of a mip that a chunk fills, with their names in the mip's folder, each encoded as it is
    asked for; the chunk must be made of whole ones."""
    grid = Grid.chunks(info.bounds, info.write_block)
    boxes = [grid.box(index) for index in grid.indexes_meeting(chunk.box)]
    if not all(chunk.box.contains(box) for box in boxes):
        raise ValueError(f"{chunk.box} is not made of whole storage chunks or shards of {info.url}")
    for box in boxes:
        if info.sharded:
            yield _shard_file(chunk.crop(box), info)
        else:
            yield str(box), _encoded(chunk.crop(box), info.encoding, False)


def file_names(info: VoxelsInfo, box: Box) -> list[str]:
    """The names of the files that a box fills, in the mip's folder."""
    if info.sharded:
        return shard_names(info.bounds, info.storage, box)
    grid = Grid.chunks(info.bounds, info.storage)
    return [str(grid.box(index)) for index in grid.indexes_meeting(box)]


def _shard_file(chunk: Chunk, info: VoxelsInfo) -> tuple[str, bytes]:
    """The name and content of the shard that a chunk fills."""
    grid = Grid.chunks(info.bounds, info.storage)
    sharding = sharding_of(info.bounds, info.storage, info.compressed)
    indexes = list(grid.indexes_meeting(chunk.box))
    codes = morton_encode(np.array([grid.position(index) for index in indexes]), grid.shape)
    order = sharding.order(codes)
    values = [_encoded(chunk.crop(grid.box(indexes[n])), info.encoding, info.compressed) for n in order]
    sizes = np.array([len(value) for value in values], np.int64)
    data = np.frombuffer(b"".join(values), np.uint8)
    values.clear()  # else the shard would be held once more while it is put together
    (file,) = encode_shards(sharding, codes[order], sizes, data).items()
    return file


def shard_names(bounds: Box, storage: Vec, box: Box | None = None) -> list[str]:
    """The names of the files of a mip that hold voxels of a box, or of all."""
    sharding, shape = sharding_of(bounds, storage, False), chunks_of(bounds, storage)
    shards = Grid.chunks(bounds, vec(n * SHARD_SIDE for n in storage))
    positions = [shards.position(index) for index in shards.indexes_meeting(box or bounds)]
    found = sharding.locate(morton_encode(np.array(positions) * SHARD_SIDE, shape))[0]
    return [sharding.file_name(shard) for shard in found.tolist()]


def file_count(bounds: Box, storage: Vec, sharded: bool) -> int:
    """How many files the voxels of a mip take."""
    return prod(-(-n // SHARD_SIDE) if sharded else n for n in chunks_of(bounds, storage))


def _encoded(chunk: Chunk, encoding: str, compressed: bool) -> bytes:
    array: npt.NDArray[Any] = chunk.array if chunk.array.ndim == 4 else chunk.array[..., np.newaxis]
    data = bytes(cloudvolume.chunks.encode(np.asfortranarray(array), encoding, block_size=BLOCK))
    return gzip.compress(data, 6, mtime=0) if compressed else data
