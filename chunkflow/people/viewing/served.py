"""Files of layers as they are served: their size, form and ETag, and how to read a part of them.

1. A file on a disk may be far larger than the memory: it is read in pieces, and gzip is unpacked in pieces.
2. `at_hand` gives what needs no waiting; for the rest the caller calls `read` where nobody else waits for it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from collections.abc import Callable
from typing import IO, Any, Protocol

AT_ONCE = getattr(os, "RWF_NOWAIT", 0)


class ServedFile(Protocol):
    """A file that is there, until it is closed."""

    size: int
    encoding: str | None
    etag: str
    """Another one as soon as the content is another; empty where none is known."""

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from one to another."""

    def at_hand(self, start: int, stop: int) -> bytes | bytearray | None:
        """As `read`, but None where a disk or a network would have to be waited for."""

    def close(self) -> None:
        """Let go of what the file holds open."""


class FileInMemory:
    """The content of a file as bytes."""

    __slots__ = ("content", "encoding", "etag", "size")

    def __init__(self, content: bytes, encoding: str | None = None, etag: str = "") -> None:
        self.content = content
        self.size = len(content)
        self.encoding = encoding
        self.etag = etag or f'"{hashlib.sha256(content).hexdigest()[:16]}{"-gz" if encoding else ""}"'

    def read(self, start: int, stop: int) -> bytes:
        return self.content[start:stop]

    at_hand = read

    def close(self) -> None:
        pass


class FileOnDisk:
    """An open file as it lies; one that is replaced meanwhile is still read to its end."""

    __slots__ = ("encoding", "etag", "handle", "size")

    def __init__(self, handle: int, known: os.stat_result, encoding: str | None = None) -> None:
        self.handle = handle
        self.size = known.st_size
        self.encoding = encoding
        self.etag = etag_of(known, encoding or "")

    def read(self, start: int, stop: int) -> bytes:
        return os.pread(self.handle, stop - start, start)

    def at_hand(self, start: int, stop: int) -> bytearray | None:
        content = bytearray(stop - start)
        try:
            length = os.preadv(self.handle, [content], start, AT_ONCE)
        except OSError:  # it is not in memory, or this file system cannot tell
            return None
        del content[length:]
        return content or None

    def close(self) -> None:
        os.close(self.handle)


class UnpackedFile:
    """The content of a gzip file, unpacked once for its length and again as it is read, in pieces."""

    encoding: str | None = None

    def __init__(self, packed: IO[bytes], etag: str = "") -> None:
        self.etag = etag
        self._packed = packed
        self._content = gzip.GzipFile(fileobj=packed)
        try:
            self.size = self._content.seek(0, os.SEEK_END)
        except BaseException:
            packed.close()
            raise

    def read(self, start: int, stop: int) -> bytes:
        self._content.seek(start)
        return self._content.read(stop - start)

    def at_hand(self, start: int, stop: int) -> None:
        return None

    def close(self) -> None:
        self._packed.close()


class FetchedFile:
    """A file of which each part is fetched as it is read, unless it is held already."""

    encoding: str | None = None

    def __init__(
        self,
        size: int,
        fetch: Callable[[int, int], bytes],
        held: Callable[[int, int], bytes | None],
        etag: str = "",
    ) -> None:
        self.size = size
        self.etag = etag
        self._fetch = fetch
        self._held = held

    def read(self, start: int, stop: int) -> bytes:
        return self._fetch(start, stop)

    def at_hand(self, start: int, stop: int) -> bytes | None:
        return self._held(start, stop)

    def close(self) -> None:
        pass


class FileReader(io.RawIOBase):
    """A served file as what reads files of Python takes it."""

    def __init__(self, file: ServedFile) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}
        self._at = origin[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._file.size)
        content = self._file.read(self._at, stop) if self._at < stop else b""
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def etag_of(known: os.stat_result, form: str) -> str:
    """The size of a file and when it was changed, and in which form it is sent."""
    return f'"{known.st_size:x}-{known.st_mtime_ns:x}{form and f"-{form}"}"'
