"""Sources of a layer's files: a folder of this machine, or a bucket."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cloudfiles import CloudFiles


@dataclass(frozen=True)
class ServedFile:
    """A file that is there: its size, how to read from one byte to another, and its encoding."""

    size: int
    read: Callable[[int, int], bytes]
    encoding: str | None = None
    close: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, content: bytes) -> ServedFile:
        return cls(len(content), lambda start, stop: content[start:stop])


class Source(Protocol):
    """Source of the files of one layer."""

    def find(self, name: str, gzipped: bool, part: bool) -> ServedFile | None:
        """The file `name`; as gzip only where `gzipped` is understood and no `part` of it is asked for."""


class LocalSource:
    """A layer in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def find(self, name: str, gzipped: bool, part: bool) -> ServedFile | None:
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder):
            return None
        if path.is_file():
            return opened(path)
        packed = path.with_name(path.name + ".gz")
        if not packed.is_file():
            return None
        found = opened(packed, "gzip")
        if gzipped and not part:
            return found
        content = found.read(0, found.size)
        found.close()
        return ServedFile.of(gzip.decompress(content))


class RemoteSource:
    """A layer in a bucket or on another server, decompressed by CloudFiles."""

    def __init__(self, url: str) -> None:
        self.url = url

    def find(self, name: str, gzipped: bool, part: bool) -> ServedFile | None:
        files = CloudFiles(self.url, progress=False)
        head = files.head(name) if part else None
        if head and not head.get("Content-Encoding"):
            span = partial(self._read, files, name)
            return ServedFile(int(head["Content-Length"]), span)
        content = files.get(name)
        return None if content is None else ServedFile.of(content)

    @staticmethod
    def _read(files: Any, name: str, start: int, stop: int) -> bytes:
        content: bytes = files.get({"path": name, "start": start, "end": stop})
        return content


def opened(path: Path, encoding: str | None = None) -> ServedFile:
    """The file as it is now; one that is replaced meanwhile is still read to its end."""
    handle = os.open(path, os.O_RDONLY)

    def read(start: int, stop: int) -> bytes:
        return os.pread(handle, stop - start, start)

    return ServedFile(os.fstat(handle).st_size, read, encoding, partial(os.close, handle))


def source_of(url: str) -> Source:
    """Where to read a layer from, by its URL or plain path."""
    if url.startswith("file://") or "://" not in url:
        return LocalSource(Path(url.removeprefix("file://")).expanduser())
    return RemoteSource(url)
