"""Sources of a layer's files: a folder of this machine, or a bucket.

1. A name is a path below the layer, of plain parts: `is_plain` is asked before any source is.
2. On a disk every name that is opened, with or without an ending added, must end inside the folder of the
   layer, wherever its links lead.
3. What a bucket has sent is kept in memory for a while (`remote.py`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol

from chunkflow.people.viewing.inside import open_inside
from chunkflow.people.viewing.remote import RemoteSource
from chunkflow.people.viewing.served import FileOnDisk, ServedFile, UnpackedFile, etag_of

PART = r"(?!\.{0,2}(?:/|\Z))[^\x00-\x1f\x7f\\%?#/]+"
"""A name of a file or folder; the signs that are left out a web server may read as another path."""
PLAIN = re.compile(f"{PART}(?:/{PART})*\\Z")


def is_plain(name: str) -> bool:
    """Whether a name can only lie below the folder that it is asked of, links apart."""
    return PLAIN.match(name) is not None


class Source(Protocol):
    """Source of the files of one layer."""

    def find(self, name: str, gzipped: bool, part: bool) -> ServedFile | None:
        """The file `name`; as gzip only where `gzipped` is understood and no `part` of it is asked for."""


class LocalSource:
    """A layer in a folder of this machine, which may itself be a link."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder.resolve())

    def find(self, name: str, gzipped: bool, part: bool) -> ServedFile | None:
        opened = open_inside(self.folder, name)
        if opened is not None:
            return FileOnDisk(*opened)
        opened = open_inside(self.folder, f"{name}.gz")
        if opened is None:
            return None
        handle, known = opened
        if gzipped and not part:
            return FileOnDisk(handle, known, "gzip")
        return UnpackedFile(os.fdopen(handle, "rb"), etag_of(known, "plain"))


def source_of(url: str) -> Source:
    """Where to read a layer from, by its URL or plain path."""
    if url.startswith("file://") or "://" not in url:
        return LocalSource(Path(url.removeprefix("file://")).expanduser())
    return RemoteSource(url)
