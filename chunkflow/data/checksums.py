"""Checksums (CRC-32C): at the end of files that only chunkflow reads, and of all that a cell wrote."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

import google_crc32c

from chunkflow.errors import DamagedInput

_MARK = b"\ncrc32c:"
_SIZE = len(_MARK) + 9
_PIECE = 2**20
_DIGESTS = 2**32
"""A digest is less than this."""


def seal(data: bytes) -> bytes:
    """The content of a file, with its checksum behind it."""
    return data + _MARK + b"%08x\n" % google_crc32c.value(data)


def unseal(data: bytes, place: str) -> bytes:
    """The content of a file that was sealed. One of an earlier chunkflow has no seal, and is taken as it is.

    Raises DamagedInput, which names the file, where they do not agree.
    """
    if not data:
        raise DamagedInput(f"{place} is empty.")
    if _MARK not in data[-_SIZE:]:
        return data
    content = data[:-_SIZE]
    if data[-_SIZE:] != _MARK + b"%08x\n" % google_crc32c.value(content):
        raise DamagedInput(f"{place} is damaged: its checksum does not match.")
    return content


def digest_of(name: str, data: bytes | IO[bytes]) -> int:
    """The digest of one file, by its name and content; an open file is read from where it stands."""
    if isinstance(data, bytes):
        checksum = google_crc32c.value(data)
    else:
        checksum = 0
        while piece := data.read(_PIECE):
            checksum = google_crc32c.extend(checksum, piece)
    return int(google_crc32c.value(b"%s %08x" % (name.encode(), checksum)))


def digest_of_all(digests: Iterable[int]) -> int:
    """The digest of several files, in whatever order they were written."""
    return sum(digests) % _DIGESTS
