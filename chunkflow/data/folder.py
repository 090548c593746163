"""A folder on a disk, S3 or GCS, in which files are written whole, and may be made only if absent.

All that lies in a work folder or in a layer's folder and is not voxels goes through it. Places, keys and
endpoints are found by cloud-files, as for the voxels. cloud-files has no conditional put, so
`put_if_absent` asks the client that cloud-files made: link() on a file system, IfNoneMatch on S3,
if_generation_match on GCS.
"""

from __future__ import annotations

import io
import os
import posixpath
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import google.api_core.exceptions
from botocore.exceptions import ClientError
from cloudfiles import CloudFiles
from cloudfiles.interfaces import DEFAULT_S3_ACL, S3_ACLS

from chunkflow.data.atomic import create_once, is_temporary, make_durable, twins_of, write_whole
from chunkflow.data.clients import is_fault, said
from chunkflow.errors import BadInput, StorageError

AT_ONCE = 32
"""Requests under way at a time."""
_CONFLICT_TRIES = 5
Item = TypeVar("Item")
Made = TypeVar("Made")

if "AWS_ACCESS_KEY_ID" in os.environ:
    # Keys of a user have no session token; cloud-files looks for one all the same. An empty one is none.
    os.environ.setdefault("AWS_SESSION_TOKEN", "")


def side_by_side(do: Callable[[Item], Made], items: Sequence[Item]) -> list[Made]:
    """What `do` makes of each, in their order, many at a time: a store takes its time over each request.

    cloud-files has such a thing, but sleeps for 100 ms while any of them waits.
    """
    if len(items) < 2:
        return [do(item) for item in items]
    with ThreadPoolExecutor(min(len(items), AT_ONCE)) as pool:
        return list(pool.map(do, items))


def as_they_come(do: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Do each of these, many at a time. No more of them are asked for, and held, than are under way; after
    one has failed, none."""
    under_way: set[Future[object]] = set()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for item in items:
            under_way.add(pool.submit(do, item))
            if len(under_way) == AT_ONCE:
                ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
        for future in under_way:
            future.result()


class Folder:
    """A folder of files, by a plain path, file://, s3:// or gs:// (http:// and mem:// can only be read and
    put)."""

    def __init__(self, url: str) -> None:
        self._cloud = CloudFiles(url, progress=False)
        self.url: str = self._cloud.cloudpath.rstrip("/")
        self._protocol: str = self._cloud.protocol
        self.root: Path | None = Path(self._cloud._path.path) if self._protocol == "file" else None
        """Where it lies on a disk; None in an object store."""

    def __repr__(self) -> str:
        return f"Folder({self.url!r})"

    def at(self, name: str) -> Folder:
        """The folder of this name inside this one."""
        return Folder(posixpath.join(self.url, name))

    def put(self, name: str, data: bytes | IO[bytes], compress: str = "") -> None:
        """Write or replace a file; a reader sees the old one or the new one.

        An open file is copied from where it stands: piece by piece on a disk, at once to a cloud, which may
        have to be given it again. `compress` (gzip) is how it lies in a cloud; on a disk it lies as it is.
        """
        with self._speaking_of("write", name):
            if self.root is not None:
                path = self._path(name)
                write_whole(path, data, twins_of(path))
            else:
                content = data if isinstance(data, bytes) else data.read()
                # CloudVolume lets storage chunks be cached for an hour; a rerun may replace ours
                self._cloud.put(name, content, compress=compress or None, cache_control="no-cache")

    def make_durable(self, names: Sequence[str]) -> None:
        """Let files that were put here outlast a cut of power; in a cloud they do, as they are put."""
        if self.root is not None:
            paths = [self._path(name) for name in names]
            with self._speaking_of("make durable", names[0]):
                make_durable([*paths, *{path.parent for path in paths}])

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Make a file unless there is one of this name; say whether it was made.

        An answer that was lost and asked for again may say False although this very call made it: who needs
        to know reads the file. Raises BadInput where the store cannot do this.
        """
        with self._speaking_of("write", name):
            if self.root is not None:
                return create_once(self._path(name), data)
            if self._protocol == "s3":
                return self._put_if_absent_s3(name, data)
            if self._protocol == "gs":
                return self._put_if_absent_gcs(name, data)
        raise BadInput(
            f"{self.url} cannot hold a work folder: {self._protocol}:// cannot make a file only if absent"
        )

    def get(self, name: str) -> bytes | None:
        """The bytes of a file, decompressed where it lies compressed; None where there is none."""
        with self._speaking_of("read", name):
            if self.root is not None:
                try:
                    return self._path(name).read_bytes()
                except (FileNotFoundError, NotADirectoryError):
                    if not any(twin.exists() for twin in twins_of(self._path(name))):
                        return None
            content: bytes | None = self._cloud.get(name)
            return content

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes] | None]:
        """A file to read here and there: on a disk it stays there; None where there is none."""
        if self.root is not None and self._path(name).is_file():
            with self._speaking_of("read", name), self._path(name).open("rb") as file:
                yield file
            return
        content = self.get(name)
        yield None if content is None else io.BytesIO(content)

    def get_all(self, names: Sequence[str]) -> list[bytes | None]:
        """The bytes of many files, in the order of their names, fetched side by side from a cloud."""
        if self.root is not None:
            return [self.get(name) for name in names]
        return side_by_side(self.get, names)

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        with self._speaking_of("look for", name):
            if self.root is not None:
                path = self._path(name)
                return path.is_file() or any(twin.is_file() for twin in twins_of(path))
            with self._cloud._get_connection() as connection:
                return bool(connection.exists(name))

    def size(self, name: str) -> int | None:
        """The bytes that a file takes; None where there is none."""
        with self._speaking_of("look for", name):
            if self.root is None and not self.exists(name):
                return None
            size: int | None = self._cloud.size(name)
            return size

    def discard(self, names: Iterable[str]) -> None:
        """Delete files; it is no error if some are not there."""
        named = list(names)
        if not named:
            return
        with self._speaking_of("delete", named[0]):
            if self.root is None:
                self._cloud.delete(named)
                return
            for name in named:
                path = self._path(name)
                for file in (path, *twins_of(path)):
                    file.unlink(missing_ok=True)

    def delete(self, names: Iterable[str]) -> int:
        """Delete files, and on a disk the folders that this empties; return how many files there were."""
        named = list(dict.fromkeys(names))
        there = (
            [self.exists(name) for name in named]
            if self.root is not None
            else side_by_side(self.exists, named)
        )
        present = [name for name, found in zip(named, there, strict=True) if found]
        self.discard(present)
        if self.root is not None:
            self._remove_empty_folders({self._path(name).parent for name in present})
        return len(present)

    def list(self, prefix: str = "") -> Iterator[str]:
        """The names of all files that begin with prefix, those in folders below included, in no order."""
        with self._speaking_of("list", prefix):
            if self.root is None:
                yield from self._cloud.list(prefix)
                return
            start = self.root / posixpath.dirname(prefix)
            for folder, folders, files in os.walk(start):
                folders[:] = [inner for inner in folders if not is_temporary(inner)]
                inside = os.path.relpath(folder, self.root)
                for file in files:
                    name = file if inside == "." else f"{inside}/{file}"
                    if name.startswith(prefix) and not is_temporary(file):
                        yield name

    def check_conditional_put(self) -> None:
        """Raise BadInput unless this place makes a file only if absent, as the ledger must rely on."""
        name = f"probe-{secrets.token_hex(8)}"
        try:
            self.put_if_absent(name, b"first")  # says False too where its answer was lost
            kept = not self.put_if_absent(name, b"second") and self.get(name) == b"first"
            self.discard([name])
        except StorageError as error:
            why = getattr(error.__cause__, "strerror", None) or error.__cause__ or error
            raise BadInput(f"{self.url} cannot hold a work folder: {why}") from error
        if not kept:
            raise BadInput(f"{self.url} cannot hold a work folder: it lets a file that exists be made again")

    def _path(self, name: str) -> Path:
        assert self.root is not None
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{name!r} does not lie in {self.url}")
        return self.root / name

    def _remove_empty_folders(self, folders: set[Path]) -> None:
        for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
            while folder != self.root:
                try:
                    folder.rmdir()
                except OSError:  # not empty, or gone
                    break
                folder = folder.parent

    def _put_if_absent_s3(self, name: str, data: bytes) -> bool:
        with self._cloud._get_connection() as connection:
            request: dict[str, Any] = {
                "Bucket": self._cloud._path.bucket,
                "Key": connection.get_path_to_file(name),
                "Body": data,
                "ACL": S3_ACLS.get(self._cloud._path.alias, DEFAULT_S3_ACL),
                "IfNoneMatch": "*",
            }
            for attempt in range(_CONFLICT_TRIES):
                try:
                    connection._conn.put_object(**request)
                    return True
                except ClientError as error:
                    code = error.response["Error"]["Code"]
                    if code in ("PreconditionFailed", "412"):
                        return False
                    # Two puts at the same moment: S3 asks the loser to try again.
                    if code not in ("ConditionalRequestConflict", "409") or attempt == _CONFLICT_TRIES - 1:
                        raise
        return False

    def _put_if_absent_gcs(self, name: str, data: bytes) -> bool:
        with self._cloud._get_connection() as connection:
            blob = connection._bucket.blob(connection.get_path_to_file(name))
            blob.cache_control = "no-cache"
            try:
                blob.upload_from_string(data, "application/octet-stream", if_generation_match=0)
            except google.api_core.exceptions.PreconditionFailed:
                return False
            return True

    @contextmanager
    def _speaking_of(self, action: str, name: str) -> Iterator[None]:
        """Turn what storage raises into one sentence that names the file."""
        try:
            yield
        except Exception as error:
            if not is_fault(error):
                raise
            raise StorageError(
                f"could not {action} {posixpath.join(self.url, name)}: {said(error)}"
            ) from error
