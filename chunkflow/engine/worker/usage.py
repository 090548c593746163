"""Resource usage of one cell: seconds of reading, mapping and writing, bytes, and counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from chunkflow.data.checksums import digest_of_all


@dataclass
class Usage:
    """Usage of one cell, added to as it goes through read, map and write."""

    read: float = 0.0
    map: float = 0.0
    write: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    digest: int = 0
    """Of all files that were written, but for the parts, which carry their checksums."""
    map_began: float = 0.0
    """When, by the clock on the wall; reading ahead may have been done long before."""

    def wrote(self, digest: int) -> None:
        """Add the digest of a file that is written."""
        self.digest = digest_of_all((self.digest, digest))

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        begin = time.perf_counter()
        if what == "map" and not self.map_began:
            self.map_began = time.time()
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) + time.perf_counter() - begin)
