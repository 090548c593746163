"""Files below a folder, opened wherever links lead, as long as they end inside of it.

1. A file is first opened as a place only (O_PATH: nothing is read, no pipe or device is touched), which
   follows all links; the system then says where that place is, and what was found is opened for reading by
   its handle. A link that is laid meanwhile changes nothing.
2. Where that place is not plainly inside, or a system knows no such handles, the links of the path are
   resolved first, and what was found is opened folder by folder without following links again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
HANDLES = "/proc/self/fd"
BY_HANDLE = hasattr(os, "O_PATH") and os.path.isdir(HANDLES)
PLACE_FLAGS = getattr(os, "O_PATH", 0) | os.O_CLOEXEC
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC
FOLDER_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe must not be waited for
DELETED = " (deleted)"
"""What the system adds to the path of a file that has none any more."""

Opened = tuple[int, os.stat_result]


def open_inside(folder: str, name: str) -> Opened | None:
    """A regular file below a resolved folder, opened; None where there is none, or it lies outside."""
    if not BY_HANDLE:
        return _open_by_path(Path(folder), name)
    try:
        place = os.open(f"{folder}/{name}", PLACE_FLAGS)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        return _open_by_path(Path(folder), name)
    try:
        handle = f"{HANDLES}/{place}"
        found = os.readlink(handle)
        if not found.startswith(f"{folder.rstrip('/')}/") or found.endswith(DELETED):
            return _open_by_path(Path(folder), name)
        known = os.fstat(place)
        return (os.open(handle, READ_FLAGS), known) if stat.S_ISREG(known.st_mode) else None
    finally:
        os.close(place)


def _open_by_path(folder: Path, name: str) -> Opened | None:
    found = Path(os.path.realpath(folder / name))
    if found == folder or not found.is_relative_to(folder):
        return None
    try:
        handle = _opened_without_links(folder, found.relative_to(folder).parts)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise
    known = os.fstat(handle)
    if stat.S_ISREG(known.st_mode):
        return handle, known
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
