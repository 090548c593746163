"""Places that an owner writes: a store is kept busy, and its fence looked at; a disk says what failed."""

from __future__ import annotations

import errno
import math
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chunkflow.data import atomic, owned
from chunkflow.data.folder import AT_ONCE, Folder
from chunkflow.data.owned import DISCARDED_AT_ONCE, OwnedFolder, OwnedPlaces
from chunkflow.errors import Overtaken, StorageError
from tests.support.puppet import eventually

STORE = "mem://bucket/place"
Put = Callable[[Folder, str, bytes, str], None]


class Fence:
    """Falls after so many looks."""

    def __init__(self, falls: float = math.inf) -> None:
        self.left, self._lock = falls, threading.Lock()

    def check(self) -> None:
        with self._lock:
            self.left -= 1
            if self.left < 0:
                raise Overtaken("Another has taken over.")


def test_a_slow_request_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, go_on, count = list[str](), threading.Event(), 5 * AT_ONCE

    def put(folder: Folder, name: str, data: bytes, compress: str) -> None:
        assert name != "0" or go_on.wait(30)
        ended.append(name)

    def files() -> Iterator[tuple[str, bytes]]:
        for number in range(count):
            assert number - len(ended) < AT_ONCE, "no more are held than are under way"
            yield str(number), b""

    monkeypatch.setattr(Folder, "put", put)
    writing = threading.Thread(target=OwnedFolder(STORE).put_all, args=(files(),))
    writing.start()
    try:
        eventually(lambda: len(ended) == count - 1)
    finally:
        go_on.set()
        writing.join(10)
    assert sorted(ended, key=int) == [str(number) for number in range(count)]


def test_the_fence_of_a_store_is_looked_at_before_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    written = list[str]()
    monkeypatch.setattr(Folder, "put", lambda folder, name, data, compress: written.append(name))
    folder = OwnedFolder(STORE, check=Fence(5).check)
    with pytest.raises(Overtaken):
        folder.put_all((str(number), b"") for number in range(3 * AT_ONCE))
    assert len(written) == 5


def test_a_store_deletes_many_files_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = list[int]()
    folder = OwnedFolder(STORE, check=Fence(2).check)
    monkeypatch.setattr(folder._cloud, "delete", lambda names: groups.append(len(names)))
    folder.discard(map(str, range(DISCARDED_AT_ONCE + 1)))
    assert groups == [DISCARDED_AT_ONCE, 1]
    with pytest.raises(Overtaken):
        folder.discard(["0"])


def test_threads_that_open_a_place_at_once_have_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=10)

    class Slow(OwnedFolder):
        def __init__(self, url: str, owner: str, check: Callable[[], None]) -> None:
            both.wait()
            super().__init__(url, owner, check)

    monkeypatch.setattr(owned, "OwnedFolder", Slow)
    places, found = OwnedPlaces(), list[OwnedFolder]()
    threads = [threading.Thread(target=lambda: found.append(places.at(STORE))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 2
    assert found[0] is found[1]


@pytest.mark.parametrize(
    ("number", "why"), [(errno.EIO, "Input/output error"), (errno.ENOSPC, "the disk is full")]
)
@pytest.mark.parametrize("count", [1, 9])
def test_a_sync_that_fails_names_the_file_and_leaves_nothing_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, why: str, count: int
) -> None:
    synced, fails = list[Path](), [True]

    def sync(path: Path) -> None:
        if path.name == "a0" and fails.pop():
            raise OSError(number, os.strerror(number))
        synced.append(path)

    monkeypatch.setattr(atomic, "_sync", sync)
    places = OwnedPlaces()
    one, two = (places.at(str(tmp_path / name)) for name in ("one", "two"))
    for folder, first in ((one, "a"), (two, "b")):
        folder.put_all((f"in/{first}{n}", b"") for n in range(count))
    with pytest.raises(StorageError, match=f"could not make .*/one/in/a0 durable: .*{why}"):
        places.sync()
    synced.clear()
    places.sync()
    assert not synced, "who failed writes all of it again"
    one.put("in/a1", b"")
    places.sync()
    new = [tmp_path / "one/in/a1", tmp_path / "one/in", tmp_path / "one", tmp_path]
    assert sorted(synced) == sorted(new), "no folder is taken for durable whose sync failed"
