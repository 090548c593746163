"""Sources of a layer's files: a folder of this machine, or a bucket.

1. A name is a path below the layer, of plain parts: `is_plain` is asked before any source is.
2. On a disk every name that is opened, with or without an ending added, is first followed through its links,
   and must end inside the folder of the layer; what was found is opened without following links again.
3. A file on a disk may be far larger than the memory: it is read in pieces, and gzip is unpacked in pieces.
   Of a bucket a file is fetched whole where it is compressed or no part of it is asked for, and what is no
   gzip is unpacked whole.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

from cloudfiles import CloudFiles
from cloudfiles.compression import decompress

NOT_PLAIN = re.compile(r"[\x00-\x1f\x7f\\%?#]")
"""What is in no name of a layer's file, and what a web server may read as another path."""
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
FOLDER_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
AT_ONCE = getattr(os, "RWF_NOWAIT", 0)
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe must not be waited for


def is_plain(name: str) -> bool:
    """Whether a name can only lie below the folder that it is asked of, links apart."""
    return not NOT_PLAIN.search(name) and not {"", ".", ".."} & set(name.split("/"))


Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class ServedFile:
    """A file that is there: its size, how to read from one byte to another, and its encoding."""

    size: int
    read: Read
    encoding: str | None = None
    close: Callable[[], None] = lambda: None
    etag: str = ""
    """Another one as soon as the content is another."""
    at_hand: Callable[[int, int], bytes | None] = lambda start, stop: None
    """As `read`, but None where a disk or a network would have to be waited for."""

    @classmethod
    def of(cls, content: bytes, encoding: str | None = None) -> ServedFile:
        def read(start: int, stop: int) -> bytes:
            return content[start:stop]

        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}{"-gz" if encoding else ""}"'
        return cls(len(content), read, encoding, etag=etag, at_hand=read)


class Source(Protocol):
    """Source of the files of one layer."""

    def find(self, name: str, gzipped: bool, part: bool) -> ServedFile | None:
        """The file `name`; as gzip only where `gzipped` is understood and no `part` of it is asked for."""


class LocalSource:
    """A layer in a folder of this machine, which may itself be a link."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def find(self, name: str, gzipped: bool, part: bool) -> ServedFile | None:
        handle = open_inside(self.folder, name)
        if handle is not None:
            return as_it_lies(handle)
        handle = open_inside(self.folder, f"{name}.gz")
        if handle is None:
            return None
        if gzipped and not part:
            return as_it_lies(handle, "gzip")
        return unpacked(os.fdopen(handle, "rb"), etag_of(handle, "plain"))


class RemoteSource:
    """A layer in a bucket or on another server; what is no gzip is decompressed by CloudFiles."""

    def __init__(self, url: str) -> None:
        self.url = url

    def find(self, name: str, gzipped: bool, part: bool) -> ServedFile | None:
        files = CloudFiles(self.url, progress=False)
        head = files.head(name) if part else None
        if head and not head.get("Content-Encoding"):
            span = partial(self._read, files, name)
            return ServedFile(int(head["Content-Length"]), span)
        [found] = files.get([name], raw=True, raise_errors=True)
        content, encoding = found["content"], found["compress"]
        if content is None:
            return None
        if encoding != "gzip":
            return ServedFile.of(decompress(content, encoding, name))
        return ServedFile.of(content, encoding) if gzipped and not part else unpacked(io.BytesIO(content))

    @staticmethod
    def _read(files: Any, name: str, start: int, stop: int) -> bytes:
        content: bytes = files.get({"path": name, "start": start, "end": stop})
        return content


def open_inside(folder: Path, name: str) -> int | None:
    """A file below a folder, opened, wherever links lead; None where there is none, or it lies outside."""
    found = Path(os.path.realpath(folder / name))
    if found == folder or not found.is_relative_to(folder):
        return None
    try:
        handle = _opened_without_links(folder, found.relative_to(folder).parts)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    return None


def _opened_without_links(folder: Path, parts: Sequence[str]) -> int:
    """Folder by folder, so that a link that was laid since the path was looked at is not followed."""
    at = os.open(folder, FOLDER_FLAGS)
    try:
        for part in parts[:-1]:
            below = os.open(part, FOLDER_FLAGS, dir_fd=at)
            os.close(at)
            at = below
        return os.open(parts[-1], FILE_FLAGS, dir_fd=at)
    finally:
        os.close(at)


def as_it_lies(handle: int, encoding: str | None = None) -> ServedFile:
    """The file as it is now; one that is replaced meanwhile is still read to its end."""

    def read(start: int, stop: int) -> bytes:
        return os.pread(handle, stop - start, start)

    def at_hand(start: int, stop: int) -> bytes | None:
        content = bytearray(stop - start)
        try:
            length = os.preadv(handle, [content], start, AT_ONCE)
        except OSError:  # it is not in memory, or this file system cannot tell
            return None
        return bytes(content[:length]) if length else None

    size, close = os.fstat(handle).st_size, partial(os.close, handle)
    return ServedFile(size, read, encoding, close, etag_of(handle, encoding or ""), at_hand)


def etag_of(handle: int, form: str) -> str:
    """The size of a file and when it was changed, and in which form it is sent."""
    known = os.fstat(handle)
    return f'"{known.st_size:x}-{known.st_mtime_ns:x}{form and f"-{form}"}"'


def unpacked(packed: IO[bytes], etag: str = "") -> ServedFile:
    """The content of a gzip file, unpacked once for its length and again as it is read, in pieces."""
    content = gzip.GzipFile(fileobj=packed)

    def read(start: int, stop: int) -> bytes:
        content.seek(start)
        return content.read(stop - start)

    try:
        return ServedFile(content.seek(0, os.SEEK_END), read, close=packed.close, etag=etag)
    except BaseException:
        packed.close()
        raise


def source_of(url: str) -> Source:
    """Where to read a layer from, by its URL or plain path."""
    if url.startswith("file://") or "://" not in url:
        return LocalSource(Path(url.removeprefix("file://")).expanduser())
    return RemoteSource(url)
