"""Sharded files: read back by tensorstore, with every key and no other."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorstore as ts
from cloudvolume.datasource.precomputed.sharding import ShardingSpecification
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.precomputed.shards import Sharding, encode_shards, murmur

KEYS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=60, unique=True)
SHARDINGS = st.builds(
    Sharding,
    st.sampled_from(["identity", "murmurhash3_x86_128"]),
    st.integers(0, 12),
    st.integers(0, 5),
    st.integers(0, 9),
)


def files_of(sharding: Sharding, values: dict[int, bytes]) -> dict[str, bytes]:
    keys = np.array(list(values), np.uint64)
    keys = keys[sharding.order(keys)]
    ordered = [values[int(key)] for key in keys]
    sizes = np.array([len(value) for value in ordered], np.int64)
    return encode_shards(sharding, keys, sizes, np.frombuffer(b"".join(ordered), np.uint8))


def read_all(sharding: Sharding, files: dict[str, bytes], keys: Iterable[int]) -> dict[int, bytes]:
    """What tensorstore finds in these files under the keys and those beside them. (Its own list of all keys
    can wait for itself for ever.)"""
    context = ts.Context()
    base = ts.KvStore.open({"driver": "memory"}, context=context).result()
    for name, data in files.items():
        base[name] = data
    spec = {"driver": "neuroglancer_uint64_sharded", "base": "memory://", "metadata": sharding.document()}
    store = ts.KvStore.open(spec, context=context).result()
    found: dict[int, bytes] = {}
    for key in {near for wanted in keys for near in (wanted, wanted ^ 1, wanted ^ 1 << 40)}:
        read = store.read(struct.pack(">Q", key)).result()
        if read.state == "value":
            found[key] = bytes(read.value)
    return found


@settings(deadline=None)
@given(KEYS, SHARDINGS)
def test_every_value_is_found_under_its_key(keys: list[int], sharding: Sharding) -> None:
    values = {key: bytes([i]) * (i % 7) for i, key in enumerate(keys)}
    assert read_all(sharding, files_of(sharding, values), keys) == values


@settings(deadline=None)
@given(KEYS, SHARDINGS)
def test_files_may_be_made_apart(keys: list[int], sharding: Sharding) -> None:
    values = {key: str(key).encode() for key in keys}
    together = files_of(sharding, values)
    shards, _ = sharding.locate(np.array(keys, np.uint64))
    apart: dict[str, bytes] = {}
    for shard in np.unique(shards):
        apart |= files_of(sharding, {k: values[k] for k, s in zip(keys, shards, strict=True) if s == shard})
    assert apart == together


@settings(deadline=None)
@given(KEYS)
def test_keys_are_hashed_as_others_do(keys: list[int]) -> None:
    spec = ShardingSpecification.from_dict(Sharding("murmurhash3_x86_128", 0, 64, 0).document())
    assert murmur(np.array(keys, np.uint64)).tolist() == [int(spec.hashfn(np.uint64(key))) for key in keys]


def test_no_keys_make_no_files_but_those_wanted() -> None:
    sharding = Sharding("identity", 0, 3, 3)
    assert files_of(sharding, {}) == {}
    nothing = np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.uint8)
    files = encode_shards(sharding, *nothing, wanted=[1, 6])
    assert sorted(files) == ["1.shard", "6.shard"]
    assert read_all(sharding, files, range(64)) == {}


def test_files_are_named_as_others_look_for_them(tmp_path: Path) -> None:
    assert Sharding("identity", 0, 0, 0).file_name(0) == "0.shard"
    assert Sharding("identity", 0, 0, 9).file_name(0x1F) == "01f.shard"
