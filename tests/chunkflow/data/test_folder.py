"""Folders on a disk, S3 and GCS do the same; on a disk no file is ever seen half written."""

from __future__ import annotations

import errno
import io
import os
import random
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import cloudfiles.interfaces
import pytest
from cloudfiles import CloudFiles

from chunkflow.data.atomic import is_temporary, write_whole
from chunkflow.data.folder import Folder
from chunkflow.data.owned import staging_of
from chunkflow.errors import BadInput, StorageError
from tests.support.servers import gcs_at, gcs_server, s3_bucket


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_bucket("bucket") as url:
        yield url


@pytest.fixture(scope="module")
def gcs() -> Iterator[str]:
    with gcs_server() as address, gcs_at(address):
        yield "gs://bucket"


@pytest.fixture(params=["disk", "s3", "gcs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "disk":
        return Folder(str(tmp_path))
    return Folder(f"{request.getfixturevalue(request.param)}/{uuid.uuid4()}")


def test_a_file_is_put_replaced_and_read(folder: Folder) -> None:
    assert folder.get("a/b.json") is None
    assert folder.size("a/b.json") is None
    assert not folder.exists("a/b.json")
    folder.put("a/b.json", b"first")
    folder.put("a/b.json", b"second one")
    assert folder.get("a/b.json") == b"second one"
    assert folder.exists("a/b.json")
    assert folder.get_all(["a/b.json", "none", "a/c"]) == [b"second one", None, None]
    assert folder.at("a").get("b.json") == b"second one"
    assert folder.at("a").url == f"{folder.url}/a"


def test_only_the_first_makes_a_file_that_must_be_absent(folder: Folder) -> None:
    assert folder.put_if_absent("chain/1", b"mine")
    assert not folder.put_if_absent("chain/1", b"yours")
    assert folder.get("chain/1") == b"mine"
    folder.check_conditional_put()
    assert list(folder.list()) == ["chain/1"]


def test_files_are_listed_by_prefix(folder: Folder) -> None:
    for name in ("x/1", "x/2", "x/deep/3", "y"):
        folder.put(name, b"")
    assert sorted(folder.list()) == ["x/1", "x/2", "x/deep/3", "y"]
    assert sorted(folder.list("x/")) == ["x/1", "x/2", "x/deep/3"]
    assert sorted(folder.list("x/d")) == ["x/deep/3"]
    assert list(folder.list("none/")) == []


def test_delete_says_how_many_there_were(folder: Folder) -> None:
    for name in ("x/1", "x/2", "x/3"):
        folder.put(name, b"1")
    assert folder.delete(["x/1", "x/2", "x/2", "none"]) == 2
    folder.discard(["x/3", "none"])
    assert list(folder.list()) == []
    assert folder.delete([]) == 0


def test_a_store_that_cannot_refuse_is_refused(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="only if absent"):
        Folder("mem://bucket/work").check_conditional_put()
    folder = Folder(f"{s3}/careless")
    careless = folder._cloud._get_connection()._conn
    monkeypatch.setattr(folder._cloud, "_get_connection", lambda: _Careless(careless))
    with pytest.raises(BadInput, match="made again"):
        folder.check_conditional_put()


def test_a_file_system_without_links_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(BadInput, match=r"cannot hold a work folder: .*Operation not permitted"):
        Folder(str(tmp_path)).check_conditional_put()
    assert os.listdir(tmp_path) == []


class _Careless(cloudfiles.interfaces.S3Interface):  # type: ignore[misc]
    """An S3 that does not know IfNoneMatch, as some that are not Amazon's."""

    def __init__(self, client: object) -> None:
        super().__init__(CloudFiles("s3://bucket/careless")._path)
        real = self._conn

        class Client:
            def put_object(self, IfNoneMatch: str = "", **request: object) -> object:
                return real.put_object(**request)

            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

        self._conn = Client()


def test_a_bucket_that_is_not_there_is_one_sentence(s3: str) -> None:
    with pytest.raises(StorageError, match="could not write s3://nowhere/work/a: "):
        Folder("s3://nowhere/work").put_if_absent("a", b"")
    with pytest.raises(BadInput, match=r"s3://nowhere/work cannot hold a work folder: .*NoSuchBucket"):
        Folder("s3://nowhere/work").check_conditional_put()


def test_names_stay_in_their_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not lie in"):
        Folder(str(tmp_path / "work")).put("../outside", b"")


def test_a_file_under_another_compression_goes(tmp_path: Path) -> None:
    files = CloudFiles(f"file://{tmp_path}")
    for compress, name in (("gzip", "x.gz"), ("br", "x.br")):
        files.put("x", b"zipped", compress=compress)
        assert os.listdir(tmp_path) == [name]
        assert Folder(str(tmp_path)).get("x") == b"zipped"
        Folder(str(tmp_path)).put("x", b"plain")
        assert os.listdir(tmp_path) == ["x"]
        assert Folder(str(tmp_path)).delete(["x"]) == 1
    files.put("x", b"zipped", compress="gzip")
    assert Folder(str(tmp_path)).delete(["t.json", "x"]) == 1
    assert os.listdir(tmp_path) == []


def test_what_an_owner_has_not_placed_is_no_data(tmp_path: Path) -> None:
    owned = staging_of(str(tmp_path), "A")
    assert owned is not None
    owned.make()
    (owned.path / "half").write_bytes(b"of a file")
    Folder(str(tmp_path)).put("whole", b"")
    assert list(Folder(str(tmp_path)).list()) == ["whole"]


def test_deleting_leaves_no_empty_folders(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "work"))
    folder.put("a/b/c/1", b"")
    folder.put("a/2", b"")
    assert folder.delete(["a/b/c/1"]) == 1
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["work", "work/a", "work/a/2"]


REWRITER = """
import sys
from chunkflow.data.folder import Folder
folder = Folder(sys.argv[1])
print("begun", flush=True)
value = 0
while True:
    value = (value + 1) % 256
    folder.put("chunk", bytes([value]) * 4_000_000)
"""


@pytest.fixture
def rewriter(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", REWRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        while not (tmp_path / "chunk").exists():
            time.sleep(0.001)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_reader_under_a_rewriter_sees_whole_files(rewriter: subprocess.Popen[str], tmp_path: Path) -> None:
    files = CloudFiles(f"file://{tmp_path}")
    seen = set()
    for _ in range(200):
        data = files.get("chunk")
        assert len(data) == 4_000_000
        assert data.count(data[:1]) == len(data)
        seen.add(data[0])
    assert len(seen) > 3


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_write_leaves_the_old_or_the_new(
    rewriter: subprocess.Popen[str], tmp_path: Path, seed: int
) -> None:
    time.sleep(random.Random(seed).uniform(0, 0.05))
    rewriter.kill()
    rewriter.wait()
    data = (tmp_path / "chunk").read_bytes()
    assert len(data) == 4_000_000
    assert data.count(data[:1]) == len(data)
    folder = Folder(str(tmp_path))
    assert list(folder.list()) == ["chunk"]
    for left in tmp_path.iterdir():  # what a killed writer leaves is no data, and goes at the next write
        if is_temporary(left.name):
            os.utime(left, (0, 0))
    folder.put("chunk", b"new")
    assert os.listdir(tmp_path) == ["chunk"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    other = tmp_path / ".~x.tmp"
    other.write_bytes(b"half of what another is wri")
    write_whole(tmp_path / "x", b"mine")
    assert (tmp_path / "x").read_bytes() == b"mine"
    assert sorted(os.listdir(tmp_path)) == [".~x.tmp", "x"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    class FullDisk(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().read(10)

    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "x", FullDisk(b"new" * 100))
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_a_write_that_is_cut_short_is_a_storage_error(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.put("x", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"could not write .*/x: .*File too large"):
            folder.put("x", b"new" * 100_000)
        with pytest.raises(StorageError, match=r"could not write .*/y: "):
            folder.put_if_absent("y", b"new" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["x"]
    assert folder.get("x") == b"old"


def test_keys_without_a_session_token_will_do(s3: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "AWS_SESSION_TOKEN"}
    program = f"from chunkflow.data.folder import Folder\nFolder('{s3}/plain').put('a', b'1')"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert Folder(f"{s3}/plain").get("a") == b"1"


def test_who_has_no_keys_is_told_where_they_are_looked_for(s3: str, tmp_path: Path) -> None:
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
    environment = {name: value for name, value in os.environ.items() if name not in keys}
    environment |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    program = f"from chunkflow.data.folder import Folder\nFolder('{s3}/keyless').exists('a')"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert "keyless/a: no keys are found; they are looked for as CloudVolume does" in ended.stderr
