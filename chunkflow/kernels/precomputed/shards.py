"""The sharded format of precomputed indexes: many values under uint64 keys in few files.

1. A key, shifted and hashed, names a shard (one file) and a minishard within it.
2. A file begins with the shard index: where the index of each minishard lies, counted from its own end.
3. The values follow, in the order of minishard and key.
4. Then the minishard indexes: keys, starts and sizes of the values, as differences, compressed.
"""

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Sharding:
    """Which file, and which part of it, has which key."""

    hash: Literal["identity", "murmurhash3_x86_128"]
    preshift_bits: int
    minishard_bits: int
    shard_bits: int
    data_encoding: Literal["raw", "gzip"] = "raw"
    """How the values are encoded already that are given to `encode_shards`."""

    def document(self) -> dict[str, Any]:
        """As the `info` of an index says it."""
        return {
            "@type": "neuroglancer_uint64_sharded_v1",
            "hash": self.hash,
            "preshift_bits": self.preshift_bits,
            "minishard_bits": self.minishard_bits,
            "shard_bits": self.shard_bits,
            "minishard_index_encoding": "gzip",
            "data_encoding": self.data_encoding,
        }

    def locate(self, keys: Keys) -> tuple[Keys, Keys]:
        """The shard and the minishard of each key."""
        places = keys >> np.uint64(self.preshift_bits)
        if self.hash != "identity":
            places = murmur(places)
        minishards = places & np.uint64((1 << self.minishard_bits) - 1)
        shards = (places >> np.uint64(self.minishard_bits)) & np.uint64((1 << self.shard_bits) - 1)
        return shards, minishards

    def order(self, keys: Keys) -> NDArray[np.intp]:
        """The order in which values stand in their files."""
        shards, minishards = self.locate(keys)
        return np.lexsort((keys, minishards, shards))

    def file_name(self, shard: int) -> str:
        return f"{shard:0{-(-self.shard_bits // 4)}x}.shard"


def encode_shards(
    sharding: Sharding,
    keys: Keys,
    sizes: NDArray[np.int64],
    data: Bytes,
    wanted: Iterable[int] = (),
    before: NDArray[np.int64] | None = None,
) -> dict[str, bytes]:
    """The files that hold these values: `data` has them one after another, as long as `sizes` says.

    Keys and values must stand in the sharding's order. A file is whole only if all of its keys are given.
    The shards `wanted` have a file even without any value. Of each value's size `before` says how much stands
    before the value itself, for readers who know of it: the index leads to what follows that.
    """
    shards, minishards = sharding.locate(keys)
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    cuts = np.flatnonzero(shards[1:] != shards[:-1]) + 1
    none, nothing = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    before = np.zeros(len(keys), np.int64) if before is None else before
    empty = _shard(1 << sharding.minishard_bits, none, none, np.zeros(1, np.int64), nothing, data[:0])
    files = {sharding.file_name(shard): empty for shard in wanted}
    for first, last in zip([0, *cuts], [*cuts, len(keys)], strict=True):
        if first == last:
            continue
        files[sharding.file_name(int(shards[first]))] = _shard(
            1 << sharding.minishard_bits,
            keys[first:last],
            minishards[first:last],
            ends[first : last + 1] - ends[first],
            before[first:last],
            data[ends[first] : ends[last]],
        )
    return files


def _shard(
    count: int,
    keys: Keys,
    minishards: Keys,
    ends: NDArray[np.int64],
    before: NDArray[np.int64],
    data: Bytes,
) -> bytes:
    """One file; `ends` has one more entry than there are keys and begins with 0."""
    index = np.zeros((count, 2), "<u8")
    bounds = np.searchsorted(minishards, np.arange(count + 1, dtype=np.uint64))
    tail: list[bytes] = []
    at = int(ends[-1])
    for minishard in range(count):
        first, last = int(bounds[minishard]), int(bounds[minishard + 1])
        piece = b""
        if last > first:
            piece = _minishard_index(keys[first:last], ends[first : last + 1], before[first:last])
        index[minishard] = at, at + len(piece)
        at += len(piece)
        tail.append(piece)
    return b"".join([index.tobytes(), data.tobytes(), *tail])


def _minishard_index(keys: Keys, ends: NDArray[np.int64], before: NDArray[np.int64]) -> bytes:
    table = np.zeros((3, len(keys)), "<u8")
    table[0] = np.diff(keys, prepend=np.uint64(0))
    table[1] = before  # how far each value begins after the one before it ends
    table[1, 0] += ends[0]
    table[2] = np.diff(ends) - before
    return gzip.compress(table.tobytes(), 6, mtime=0)


def murmur(keys: Keys) -> Keys:
    """The low 64 bits of MurmurHash3_x86_128 of each key's eight bytes, with seed 0."""
    c1, c2, c3 = (np.uint32(c) for c in (0x239B961B, 0xAB0E9789, 0x38B34AE5))
    low = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    high = (keys >> np.uint64(32)).astype(np.uint32)
    length = np.uint32(8)
    h1 = (_rotate(low * c1, 15) * c2) ^ length
    h2 = (_rotate(high * c2, 16) * c3) ^ length
    h3 = np.full_like(h1, length)
    h4 = h3.copy()
    h1 = h1 + h2 + h3 + h4
    h2, h3, h4 = h2 + h1, h3 + h1, h4 + h1
    h1, h2, h3, h4 = (_finalize(h) for h in (h1, h2, h3, h4))
    h1 = h1 + h2 + h3 + h4
    h2 = h2 + h1
    return h1.astype(np.uint64) | (h2.astype(np.uint64) << np.uint64(32))


def _rotate(bits: NDArray[np.uint32], by: int) -> NDArray[np.uint32]:
    return (bits << np.uint32(by)) | (bits >> np.uint32(32 - by))


def _finalize(h: NDArray[np.uint32]) -> NDArray[np.uint32]:
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))
