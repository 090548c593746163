"""Objects of buckets and files of web servers, as the cache asks for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import requests
from cloudfiles import CloudFiles
from cloudfiles.compression import decompress

GZIP = "gzip"


@dataclass(frozen=True)
class StoredObject:
    """What a store says of an object without sending it."""

    size: int | None
    encoding: str | None
    etag: str
    """As the store has it; empty where it has none."""
    modified: str = ""
    serial: object = field(default_factory=object, compare=False)

    @property
    def strong_etag(self) -> str:
        """The ETag in quotes; none for a weak one, as parts of two such objects may not fit."""
        return "" if not self.etag or self.etag.startswith("W/") else f'"{self.etag.strip(chr(34))}"'

    @property
    def version(self) -> object:
        """Equal as long as the object is the same; where the store tells nothing, equal to no other."""
        return (self.etag, self.modified, self.size) if self.etag or self.modified else self.serial


class ObjectStore(Protocol):
    """Store of the objects of one layer."""

    url: str

    def head(self, name: str) -> StoredObject | None:
        """What is known of an object; None where there is none."""

    def whole(self, name: str) -> tuple[bytes, str | None] | None:
        """The content, as gzip where it lies so, and its encoding; None where there is no such object."""

    def span(self, name: str, start: int, stop: int) -> bytes:
        """The bytes from one to another, as they lie there."""


class CloudStore:
    """A place that CloudFiles reads, with the keys of this user."""

    def __init__(self, url: str) -> None:
        self.url = url

    def head(self, name: str) -> StoredObject | None:
        try:
            said: Any = self._files().head(name)
        except AttributeError:  # of an object of GCS that is not there
            return None
        except requests.HTTPError:  # a web server that answers no such question
            return StoredObject(None, None, "")
        if said is None:
            return None
        size, modified = said.get("Content-Length"), said.get("Last-Modified")
        return StoredObject(
            None if size is None else int(size),
            said.get("Content-Encoding") or None,
            said.get("ETag") or "",
            str(modified or ""),
        )

    def whole(self, name: str) -> tuple[bytes, str | None] | None:
        [found] = self._files().get([name], raw=True, raise_errors=True)
        content, encoding = found["content"], found["compress"] or None
        if content is None:
            return None
        return (content, GZIP) if encoding == GZIP else (decompress(content, encoding, name), None)

    def span(self, name: str, start: int, stop: int) -> bytes:
        wanted = {"path": name, "start": start, "end": stop}
        [found] = self._files().get([wanted], raw=True, raise_errors=True)
        if found["content"] is None:
            raise FileNotFoundError(f"{name} is no longer at {self.url}.")
        content: bytes = found["content"]
        return content

    def _files(self) -> Any:
        return CloudFiles(self.url, progress=False)
