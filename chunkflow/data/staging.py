"""Staging folder: the one way by which an owner's files come into a place, for its successor to close.

On a file system whoever writes a place for a job does so as an owner, with an id that nobody else ever has:
1. `make`: the owner makes `.~ID.tmp` in the place, once;
2. `write`: a file is made in there, and renamed to where it belongs;
3. `remove`: a file is renamed into it, and deleted there;
4. `close_off`: a successor renames that folder, empties it and removes it. It is never made again.

Each change of the place is one rename whose source or target lies in the staging folder. So once it is gone
nothing that a former owner does can change the place, however long it slept, and at whichever step: what it
was about to do fails as Overtaken. On a network file system a client may know the folder by its handle for a
while; that is dead once the folder is removed, and `close_off` returns after that.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

from chunkflow.errors import Overtaken, StorageError

_TRIES = 20
_PAUSE_SECONDS = 0.05
Made = TypeVar("Made")


class Staging:
    """The staging folder of one owner in one place."""

    def __init__(self, root: Path, owner: str) -> None:
        self._root = root
        self.path = root / f".~{owner}.tmp"
        self._closed = root / f".~{owner}-closed.tmp"

    def make(self) -> None:
        """Make the folder, with the place that it lies in. To be called once, by the owner."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self.path.mkdir()
        except OSError as error:
            raise StorageError(f"could not make a folder in {self._root}: {error.strerror}") from error

    def write(self, target: Path, data: bytes | IO[bytes]) -> None:
        """Write or replace a file, whole."""
        temporary = self.path / secrets.token_hex(8)
        handle = self._unless_closed(lambda: os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            with os.fdopen(handle, "wb") as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    shutil.copyfileobj(data, file)
            self._place(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _place(self, temporary: Path, target: Path) -> None:
        """Rename a file to where it belongs, in a folder that may not be there yet, or may just be removed
        as an empty one."""
        for _ in range(_TRIES):
            try:
                os.replace(temporary, target)
                return
            except FileNotFoundError:
                self._unless_closed(lambda: os.stat(self.path))
                target.parent.mkdir(parents=True, exist_ok=True)
        raise StorageError(f"{target} cannot be written: its folder is removed again and again.")

    def remove(self, target: Path) -> bool:
        """Delete a file; say whether there was one."""
        temporary = self.path / secrets.token_hex(8)
        try:
            os.rename(target, temporary)
        except FileNotFoundError:
            self._unless_closed(lambda: os.stat(self.path))
            return False
        temporary.unlink(missing_ok=True)
        return True

    def close_off(self) -> None:
        """Let nothing come in by this folder any more; for its owner in the end, or for a successor."""
        try:
            os.rename(self.path, self._closed)
        except FileNotFoundError:  # it was closed off before, but may not be removed yet
            pass
        except OSError as error:
            raise StorageError(f"could not close off {self.path}: {error.strerror}") from error
        for attempt in range(_TRIES):
            shutil.rmtree(self._closed, ignore_errors=True)  # another may remove it, or write there, too
            if not os.path.lexists(self._closed):
                return
            time.sleep(_PAUSE_SECONDS * attempt)
        try:
            shutil.rmtree(self._closed)
        except OSError as error:
            raise StorageError(
                f"could not remove {error.filename or self._closed}: {error.strerror}"
            ) from error

    def _unless_closed(self, do: Callable[[], Made]) -> Made:
        try:
            return do()
        except FileNotFoundError:
            raise Overtaken(
                f"{self._root} has another owner now; nothing more is written there by this process."
            ) from None
