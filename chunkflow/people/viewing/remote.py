"""Layers in buckets and on other servers."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from cloudfiles import CloudFiles
from cloudfiles.compression import decompress

from chunkflow.people.viewing.served import FetchedFile, FileInMemory, ServedFile, UnpackedFile


class RemoteSource:
    """A layer in a bucket or on another server; what is no gzip is decompressed by CloudFiles."""

    def __init__(self, url: str) -> None:
        self.url = url

    def find(self, name: str, gzipped: bool, part: bool) -> ServedFile | None:
        files = CloudFiles(self.url, progress=False)
        head = files.head(name) if part else None
        if head and not head.get("Content-Encoding"):
            span = partial(self._read, files, name)
            return FetchedFile(int(head["Content-Length"]), span, _strong(head.get("ETag")))
        [found] = files.get([name], raw=True, raise_errors=True)
        content, encoding = found["content"], found["compress"]
        if content is None:
            return None
        if encoding != "gzip":
            return FileInMemory(decompress(content, encoding, name))
        packed = FileInMemory(content, encoding)
        if gzipped and not part:
            return packed
        return UnpackedFile(io.BytesIO(content), packed.etag.replace("-gz", "-plain"))

    @staticmethod
    def _read(files: Any, name: str, start: int, stop: int) -> bytes:
        content: bytes = files.get({"path": name, "start": start, "end": stop})
        return content


def _strong(etag: str | None) -> str:
    """The ETag of a store in quotes; none for a weak one, as parts of two such files may not fit."""
    return "" if not etag or etag.startswith("W/") else '"' + etag.strip('"') + '"'
