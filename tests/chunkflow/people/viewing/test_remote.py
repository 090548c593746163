"""Layers in buckets: what is asked of the store, how often, and what is held in memory."""

from __future__ import annotations

import gzip
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cloudfiles import CloudFiles

from chunkflow.errors import BadInput
from chunkflow.people.service.lab.metrics import ServiceMetrics
from chunkflow.people.service.lab.serve import serve
from chunkflow.people.viewing.remote import (
    ABSENT_SECONDS,
    BELIEVED_SECONDS,
    SMALL,
    RemoteCache,
    RemoteSource,
)
from chunkflow.people.viewing.served import ServedFile
from chunkflow.people.viewing.stored import StoredObject
from tests.support.jobs import make_layer
from tests.support.servers import gcs_at, gcs_server, s3_bucket

LIMIT = 16 << 20
CONTENT = bytes(range(256)) * 256
GATE_SECONDS = 20


class CountedStore:
    """Objects in memory; what is asked of them is counted, and may be held up."""

    url = "s3://lab/layer"

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str | None]] = {}
        self.tags = Counter[str]()
        self.with_tags = True
        self.asked = Counter[str]()
        self.open = threading.Event()
        self.open.set()

    def put(self, name: str, content: bytes, encoding: str | None = None) -> None:
        self.objects[name] = (gzip.compress(content) if encoding else content, encoding)
        self.tags[name] += 1

    def head(self, name: str) -> StoredObject | None:
        self.asked["head"] += 1
        if name not in self.objects:
            return None
        content, encoding = self.objects[name]
        return StoredObject(len(content), encoding, str(self.tags[name]) if self.with_tags else "")

    def whole(self, name: str) -> tuple[bytes, str | None] | None:
        self.asked["whole"] += 1
        assert self.open.wait(GATE_SECONDS)
        return self.objects.get(name)

    def span(self, name: str, start: int, stop: int) -> bytes:
        self.asked["span"] += 1
        assert self.open.wait(GATE_SECONDS)
        return self.objects[name][0][start:stop]


class Remote:
    """A layer in a counted store, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.store = CountedStore()
        self.now = 0.0
        self.cache = RemoteCache(LIMIT, lambda: self.now)
        self.source = RemoteSource(self.store.url, self.store, self.cache)

    def find(self, name: str, gzipped: bool = False, part: bool = False) -> ServedFile:
        found = self.source.find(name, gzipped, part)
        assert found is not None
        return found

    def content(self, name: str) -> bytes:
        found = self.find(name)
        return found.read(0, found.size)


@pytest.fixture
def remote() -> Remote:
    return Remote()


def test_twenty_who_ask_at_once_have_an_object_fetched_once(remote: Remote) -> None:
    remote.store.put("chunk", CONTENT)
    remote.store.open.clear()
    with ThreadPoolExecutor(20) as threads:
        answers = [threads.submit(remote.content, "chunk") for _ in range(20)]
        while remote.cache.contents.hits + remote.cache.contents.misses < 20:
            pass
        remote.store.open.set()
        assert {answer.result() for answer in answers} == {CONTENT}
    assert remote.store.asked == {"head": 1, "whole": 1}


def test_what_is_held_is_answered_without_waiting(remote: Remote) -> None:
    remote.store.put("chunk", CONTENT)
    assert remote.source.at_hand("chunk", gzipped=True, part=False) is None
    remote.content("chunk")
    for part in (False, True):
        found = remote.source.at_hand("chunk", gzipped=True, part=part)
        assert found is not None
        assert (found.at_hand(3, 9), found.etag) == (CONTENT[3:9], '"1"')
    assert remote.store.asked == {"head": 1, "whole": 1}


def test_a_changed_object_is_seen_once_it_is_believed_no_longer(remote: Remote) -> None:
    remote.store.put("chunk", CONTENT)
    remote.content("chunk")
    remote.store.put("chunk", CONTENT[::-1])  # of the same size
    remote.now = BELIEVED_SECONDS - 0.01
    assert remote.content("chunk") == CONTENT
    remote.now = BELIEVED_SECONDS
    assert remote.content("chunk") == CONTENT[::-1]
    remote.now = 2 * BELIEVED_SECONDS
    assert remote.content("chunk") == CONTENT[::-1]
    assert remote.store.asked == {"head": 3, "whole": 2}  # one that is as it was is not fetched again


def test_an_object_of_which_the_store_tells_no_version_is_fetched_again(remote: Remote) -> None:
    remote.store.with_tags = False
    remote.store.put("chunk", CONTENT)
    for _ in range(3):
        remote.content("chunk")
    remote.store.put("chunk", CONTENT[::-1])
    remote.now = BELIEVED_SECONDS
    assert remote.content("chunk") == CONTENT[::-1]
    assert remote.store.asked["whole"] == 2


def test_that_there_is_no_object_is_believed_for_less(remote: Remote) -> None:
    for _ in range(5):
        assert remote.source.find("chunk", gzipped=True, part=False) is None
    assert remote.store.asked == {"head": 1}
    remote.store.put("chunk", CONTENT)
    remote.now = ABSENT_SECONDS
    assert remote.content("chunk") == CONTENT


def test_of_a_shard_only_the_parts_asked_for_are_read_and_they_are_kept(remote: Remote) -> None:
    shard = CONTENT * 64
    remote.store.put("shard", shard)
    assert len(shard) > remote.cache.contents.largest
    for _ in range(3):
        found = remote.find("shard", gzipped=True, part=True)
        assert (found.size, found.read(5, 999)) == (len(shard), shard[5:999])
        assert found.at_hand(5, 999) == shard[5:999]
        assert found.at_hand(5, 1000) is None
    assert remote.store.asked == {"head": 1, "span": 1}
    remote.store.put("shard", shard[::-1])
    remote.now = BELIEVED_SECONDS
    assert remote.find("shard", part=True).read(5, 999) == shard[::-1][5:999]


@pytest.mark.parametrize("gzipped", [True, False])
def test_a_large_object_is_sent_without_being_fetched_whole_or_kept(remote: Remote, gzipped: bool) -> None:
    plain = b"".join(number.to_bytes(4, "big") for number in range(1 << 20))
    remote.store.put("shard", plain)
    remote.store.put("packed", plain, "gzip")
    remote.cache.resize(1 << 20)
    found = remote.find("shard", gzipped)
    pieces = [found.read(start, start + SMALL) for start in range(0, found.size, SMALL)]
    assert b"".join(pieces) == plain
    found = remote.find("packed", gzipped)
    content = found.read(0, found.size)
    assert found.encoding == ("gzip" if gzipped else None)
    assert (gzip.decompress(content) if gzipped else content) == plain
    assert remote.store.asked["whole"] == 0
    assert remote.cache.contents.bytes == 0


def test_a_part_of_what_is_gzip_is_of_its_content(remote: Remote) -> None:
    remote.store.put("packed", CONTENT, "gzip")
    found = remote.find("packed", gzipped=True, part=True)
    assert (found.encoding, found.size, found.read(7, 70)) == (None, len(CONTENT), CONTENT[7:70])
    packed = remote.find("packed", gzipped=True)
    assert gzip.decompress(packed.read(0, packed.size)) == CONTENT
    assert (found.etag, packed.etag) == ('"1-plain"', '"1-gz"')
    assert remote.store.asked == {"head": 1, "whole": 1}


def test_the_bound_is_kept_and_told(remote: Remote) -> None:
    for number in range(400):
        remote.store.put(str(number), CONTENT)
        remote.content(str(number))
        assert remote.cache.bytes <= LIMIT
    assert remote.cache.bytes > LIMIT * 0.9
    remote.content("399")
    told = ServiceMetrics(remote.cache).text().splitlines()
    assert "chunkflow_service_cache_hits_total 1" in told
    assert "chunkflow_service_cache_misses_total 400" in told
    assert f"chunkflow_service_cache_bytes {remote.cache.bytes}" in told


@pytest.fixture(params=["s3", "gcs"])
def bucket(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "s3":
        with s3_bucket("lab") as url:
            yield url
    else:
        with gcs_server() as address, gcs_at(address):
            yield "gs://bucket"


def test_a_real_client_tells_of_changes_and_of_what_is_not_there(bucket: str) -> None:
    now = [0.0]
    cache = RemoteCache(LIMIT, lambda: now[0])
    place, files = f"{bucket}/layer", CloudFiles(f"{bucket}/layer", progress=False)
    source = RemoteSource(place, cache=cache)
    for part in (False, True):
        assert source.find("chunk", gzipped=True, part=part) is None
    files.put("chunk", CONTENT, compress=None)
    now[0] = ABSENT_SECONDS
    found = source.find("chunk", gzipped=True, part=True)
    assert found is not None
    assert found.read(3, 9) == CONTENT[3:9]
    files.put("chunk", CONTENT[::-1], compress="gzip")
    now[0] += BELIEVED_SECONDS
    found = source.find("chunk", gzipped=True, part=False)
    assert found is not None
    assert gzip.decompress(found.read(0, found.size)) == CONTENT[::-1]


def test_a_service_is_told_how_much_it_may_hold(tmp_path: Path) -> None:
    layer, database = tmp_path / "layer", tmp_path / "lab.sqlite"
    make_layer(layer, np.zeros((32, 32, 32), np.uint8))
    with (
        serve(layer, port=0, database=database, cache_gb=2) as service,
        urllib.request.urlopen(f"{service.url}metrics") as answer,
    ):
        told = answer.read().decode().splitlines()
    assert f"chunkflow_service_cache_limit_bytes {2 << 30}" in told
    with pytest.raises(BadInput, match="cache_gb"):
        serve(layer, port=0, database=database, cache_gb=-1)
