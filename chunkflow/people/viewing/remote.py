"""Layers in buckets and on other servers, read through a cache that all layers of a process share.

1. What a store says of an object (its ETag, its size) is believed for a few seconds, then asked again; the
   content is fetched again only where that has changed. That there is no such object is believed for less.
2. Objects of up to an eighth of the cache are fetched whole, once for all who ask meanwhile; of larger ones
   (shards), and for a part of one that is not small, only the bytes that are asked for. Parts are kept, too.
3. What is gzip stays so. Other compressions are undone by CloudFiles; such an object is always fetched whole.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable

from chunkflow.people.viewing.cache import ByteCache, Loaded
from chunkflow.people.viewing.served import FetchedFile, FileInMemory, FileReader, ServedFile, UnpackedFile
from chunkflow.people.viewing.stored import GZIP, CloudStore, ObjectStore, StoredObject

CACHE_BYTES = 512 << 20
"""What the remote layers of a process hold in memory, unless they are told otherwise."""
BELIEVED_SECONDS, ABSENT_SECONDS = 5.0, 2.0
"""How long an object is taken to be as it was, and how long one is taken not to be there."""
SMALL = 1 << 20
"""Bytes up to which an object is fetched whole even where a part of it is asked for."""
HEAD_BYTES = 1024
"""What the words about one object take in memory, with their key."""
HEADS_PART = 32
"""One in so many bytes of the cache is for words about objects."""

Content = tuple[bytes, str | None]
"""The bytes of an object, or of a part of it, and their encoding."""


class RemoteCache:
    """What was read of remote layers: words about objects, and their content."""

    def __init__(self, limit: int = CACHE_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        self.heads: ByteCache[StoredObject | None] = ByteCache(limit // HEADS_PART, now)
        self.contents: ByteCache[Content | None] = ByteCache(limit - limit // HEADS_PART, now)
        self.now = now

    @property
    def bytes(self) -> int:
        """What all of it takes in memory."""
        return self.heads.bytes + self.contents.bytes

    @property
    def limit(self) -> int:
        """What it may take."""
        return self.heads.limit + self.contents.limit

    def resize(self, limit: int) -> None:
        """Hold at most so many bytes from now on."""
        self.heads.resize(limit // HEADS_PART)
        self.contents.resize(limit - limit // HEADS_PART)


SHARED = RemoteCache()
"""The cache of this process."""


class RemoteSource:
    """A layer in a bucket or on another server."""

    def __init__(self, url: str, store: ObjectStore | None = None, cache: RemoteCache | None = None) -> None:
        self.url = url
        self._store: ObjectStore = store or CloudStore(url)
        self._cache = cache or SHARED

    def find(self, name: str, gzipped: bool, part: bool) -> ServedFile | None:
        known = self._cache.heads.get((self.url, name), lambda: self._head(name))
        if known is None:
            return None
        contents, key = self._cache.contents, self._key(name, known)
        if self._in_parts(known, part):
            held = contents.held(key)
            if held is None or held.value is None:
                return self._parts(name, known, gzipped, part)
            return _served(held.value, known, gzipped and not part)
        content = contents.get(key, lambda: self._whole(name))
        return _served(content, known, gzipped and not part) if content else None

    def at_hand(self, name: str, gzipped: bool, part: bool) -> ServedFile | None:
        """As `find`, but None where the store would be waited for, or gzip be unpacked."""
        head = self._cache.heads.held((self.url, name))
        known = head.value if head else None
        if known is None:
            return None
        as_gzip = gzipped and not part
        if known.encoding is not None and not as_gzip:
            return None
        held = self._cache.contents.held(self._key(name, known))
        if held is not None and held.value is not None:
            return _served(held.value, known, as_gzip)
        return self._parts(name, known, gzipped, part) if self._in_parts(known, part) else None

    def _in_parts(self, known: StoredObject, part: bool) -> bool:
        """Whether the content is read in the parts that are asked for."""
        if known.size is None or known.encoding not in (None, GZIP):
            return False
        most = SMALL if part and known.encoding is None else self._cache.contents.largest
        return known.size > min(most, self._cache.contents.largest)

    def _parts(self, name: str, known: StoredObject, gzipped: bool, part: bool) -> ServedFile:
        """An object of which each part is read as it is needed, and kept where parts alone are asked for."""
        assert known.size is not None
        contents, key = self._cache.contents, self._key(name, known)

        def fetch(start: int, stop: int) -> bytes:
            if not part:
                return self._store.span(name, start, stop)
            found = contents.get((*key, start, stop), lambda: self._span(name, start, stop))
            return found[0] if found else b""

        def held(start: int, stop: int) -> bytes | None:
            found = contents.held((*key, start, stop)) if part else None
            return found.value[0] if found and found.value else None

        stored = FetchedFile(known.size, fetch, held, known.strong_etag)
        if known.encoding is None:
            return stored
        if gzipped and not part:
            stored.encoding, stored.etag = GZIP, _tagged(known, "gz")
            return stored
        return UnpackedFile(io.BufferedReader(FileReader(stored), SMALL), _tagged(known, "plain"))

    def _key(self, name: str, known: StoredObject) -> tuple[object, ...]:
        return (self.url, name, known.version)

    def _head(self, name: str) -> Loaded[StoredObject | None]:
        asked = self._cache.now()  # an object that changes while the answer is under way has changed since
        known = self._store.head(name)
        return Loaded(known, HEAD_BYTES, asked + (BELIEVED_SECONDS if known else ABSENT_SECONDS))

    def _whole(self, name: str) -> Loaded[Content | None]:
        found = self._store.whole(name)
        return Loaded(found, len(found[0])) if found else Loaded(None, 0, 0.0)

    def _span(self, name: str, start: int, stop: int) -> Loaded[Content | None]:
        content = self._store.span(name, start, stop)
        return Loaded((content, None), len(content))


def _served(content: Content, known: StoredObject, as_gzip: bool) -> ServedFile:
    """What was fetched whole, as it is asked for."""
    data, encoding = content
    if encoding is None:
        return FileInMemory(data, None, known.strong_etag)
    packed = FileInMemory(data, encoding, _tagged(known, "gz"))
    return packed if as_gzip else UnpackedFile(io.BytesIO(data), packed.etag.replace("-gz", "-plain"))


def _tagged(known: StoredObject, form: str) -> str:
    """The ETag of one form of an object; empty where its store has none."""
    return f'{known.strong_etag[:-1]}-{form}"' if known.strong_etag else ""
