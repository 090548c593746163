"""Fingerprints of files that a job reads: their content in a few letters, at a bounded cost.

1. Folders are walked. Each file counts by its name there and its size, never by its times.
2. Up to 64 MiB in all are read whole. Of more, blocks are read: the first, the last and some between of each
   file, of at most 1,000 files that lie evenly among all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from chunkflow.data.folder import side_by_side

WHOLE = 2**26
"""Bytes of all files together up to which every one counts."""
SIZED = 10_000
"""Files whose sizes are looked at; of more the names alone count."""
SAMPLED = 1000
"""Files that blocks are read of."""
BLOCK = 2**14
BLOCKS = 3000
"""Of all files together."""
FEWEST, MOST = 3, 256
"""Blocks of one file."""
OF_BROWSERS = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What looking into a folder may leave there."""
_PIECE = 2**20
Item = TypeVar("Item")


def fingerprint(places: Iterable[str | Path]) -> str:
    """The fingerprint of files and folders; empty where one of them is missing or cannot be read.

    That of one file of up to 64 MiB is the SHA-256 of its bytes, whatever its name is.
    """
    given = sorted({os.path.abspath(place) for place in places})
    if not given:
        return ""
    try:
        if len(given) == 1 and os.path.isfile(given[0]) and os.path.getsize(given[0]) <= WHOLE:
            return _of_bytes(_whole(given[0]))
        return f"files:{_of_files(given)}"
    except OSError:
        return ""


def _of_files(given: Sequence[str]) -> str:
    """The digest of the names, sizes and bytes of all files, in the order of their names."""
    root = os.path.commonpath([os.path.dirname(place) for place in given])
    paths = sorted(_walked(given))
    sized = evenly(paths, SIZED)
    sizes = dict(zip(sized, side_by_side(os.path.getsize, sized), strict=True))
    whole = len(paths) <= SAMPLED and sum(sizes.values()) <= WHOLE
    read = evenly(paths, SAMPLED)
    count = min(max(BLOCKS // max(len(read), 1), FEWEST), MOST)
    bytes_of = _whole if whole else lambda path: _blocks(path, count)
    digests = dict(zip(read, side_by_side(lambda path: _of_bytes(bytes_of(path)), read), strict=True))
    lines = ((os.path.relpath(path, root), sizes.get(path), digests.get(path)) for path in paths)
    return _of_bytes(f"{json.dumps(line)}\n".encode() for line in lines)


def _walked(given: Sequence[str]) -> Iterator[str]:
    """All files, those within folders included."""

    def refuse(error: OSError) -> None:
        raise error

    for place in given:
        if not os.path.isdir(place):
            yield place
            continue
        for folder, _, names in os.walk(place, onerror=refuse):
            yield from (os.path.join(folder, name) for name in names if name not in OF_BROWSERS)


def evenly(items: Sequence[Item], most: int) -> Sequence[Item]:
    """All of these, or so many of them at even distances, the first and last among them."""
    if len(items) <= most:
        return items
    return [items[n * (len(items) - 1) // (most - 1)] for n in range(most)]


def _whole(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _blocks(path: str, count: int) -> Iterator[bytes]:
    """So many blocks of a file, the first and last among them; all of it where it is no larger."""
    last = os.path.getsize(path) - BLOCK
    if last < (count - 1) * BLOCK:
        yield from _whole(path)
        return
    with open(path, "rb") as file:
        for n in range(count):
            file.seek(n * last // (count - 1))
            yield file.read(BLOCK)


def _of_bytes(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
