"""Image and label layers in few files: a shard holds a cube of 8 storage chunks along each side.

Where a layer has fewer chunks along an axis, its shards do too; a shard is a range of Morton codes of chunks,
so it is written whole by the one cell that fills its space.
"""

from __future__ import annotations

import gzip
from math import prod
from typing import Any

import cloudvolume.chunks
import numpy as np
import numpy.typing as npt

from chunkflow.chunk import Chunk
from chunkflow.data.info import SHARD_SIDE
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


def shard_files(chunk: Chunk, bounds: Box, storage: Vec, encoding: str, compressed: bool) -> dict[str, bytes]:
    """The files of all shards that a chunk fills; it must be made of whole ones."""
    sharding, shape = sharding_of(bounds, storage, compressed), chunks_of(bounds, storage)
    grid = Grid.chunks(bounds, storage)
    indexes = list(grid.indexes_meeting(chunk.box))
    codes = morton_encode(np.array([grid.position(index) for index in indexes]), shape)
    order = sharding.order(codes)
    values = [_encoded(chunk.crop(grid.box(indexes[n])), encoding, compressed) for n in order]
    sizes = np.array([len(value) for value in values], np.int64)
    return encode_shards(sharding, codes[order], sizes, np.frombuffer(b"".join(values), np.uint8))


def shard_names(bounds: Box, storage: Vec) -> list[str]:
    """The names of all files of a mip."""
    sharding, shape = sharding_of(bounds, storage, False), chunks_of(bounds, storage)
    corners = np.indices([-(-n // SHARD_SIDE) for n in shape]).reshape(3, -1).T * SHARD_SIDE
    shards = sharding.locate(morton_encode(corners, shape))[0]
    return [sharding.file_name(shard) for shard in shards.tolist()]


def file_count(bounds: Box, storage: Vec, sharded: bool) -> int:
    """How many files the voxels of a mip take."""
    return prod(-(-n // SHARD_SIDE) if sharded else n for n in chunks_of(bounds, storage))


def _encoded(chunk: Chunk, encoding: str, compressed: bool) -> bytes:
    array: npt.NDArray[Any] = chunk.array if chunk.array.ndim == 4 else chunk.array[..., np.newaxis]
    data = bytes(cloudvolume.chunks.encode(np.asfortranarray(array), encoding, block_size=BLOCK))
    return gzip.compress(data, 6, mtime=0) if compressed else data
