"""Folders that one owner of a job writes, until its successor closes them off."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from chunkflow.data.atomic import make_durable, twins_of, write_whole
from chunkflow.data.clients import said
from chunkflow.data.folder import Folder, as_they_come
from chunkflow.data.staging import Staging
from chunkflow.errors import StorageError

DISCARDED_AT_ONCE = 20_000
"""Files that a store is asked to delete between two looks at the fence; S3 takes a thousand in a request."""


def staging_of(url: str, owner: str) -> Staging | None:
    """The staging folder of an owner at a URL; None in an object store, which has no folders."""
    root = Folder(url).root
    return Staging(root, owner) if root is not None else None


class OwnedFolder(Folder):
    """A folder whose files come in by a staging folder, and are durable once `sync` returns.

    Where there is no staging folder (an object store, or no owner) `check` alone keeps a former owner from
    writing: it is called before each file, and in a store before each group of files that are deleted.
    """

    def __init__(self, url: str, owner: str = "", check: Callable[[], None] = lambda: None) -> None:
        super().__init__(url)
        self._check = check
        self._staging = Staging(self.root, owner) if self.root is not None and owner else None
        self._unsynced = threading.local()
        self._known: set[Path] = set()
        """Folders that are durable themselves."""

    def put(self, name: str, data: bytes | IO[bytes], compress: str = "") -> None:
        self._check()
        if self.root is None:
            super().put(name, data, compress)
            return
        path = self._path(name)
        with self._speaking_of("write", name):
            self._write(path, data)
            for twin in twins_of(path):
                if os.path.lexists(twin):
                    self._remove(twin)

    def put_all(self, files: Iterable[tuple[str, bytes]], compress: str = "") -> None:
        """Write files as they come, by their names, each whole, where none lies compressed (a folder that
        only we write); to a store side by side, compressed as `put` does.

        To look for compressed twins of each would cost more than the writing, as every look gives other
        threads of the process their turn.
        """
        if self.root is None:
            as_they_come(lambda file: self.put(*file, compress), files)
            return
        for name, data in files:
            self._check()
            with self._speaking_of("write", name):
                self._write(self._path(name), data)

    def discard(self, names: Iterable[str]) -> None:
        named = list(names)
        if self.root is None:
            for start in range(0, len(named), DISCARDED_AT_ONCE):
                self._check()
                super().discard(named[start : start + DISCARDED_AT_ONCE])
            return
        for name in named:
            self._check()
            with self._speaking_of("delete", name):
                for path in (self._path(name), *twins_of(self._path(name))):
                    if os.path.lexists(path) and self._remove(path):
                        self._changed(path.parent)

    def sync(self) -> None:
        """Make durable what this thread has put here, or deleted, since it last did. In an object store all
        is, as it is put."""
        _sync([self])

    def _write(self, path: Path, data: bytes | IO[bytes]) -> None:
        if self._staging is not None:
            self._staging.write(path, data)
        else:
            write_whole(path, data)
        self._pending()[0][path] = None
        self._changed(path.parent)

    def _remove(self, path: Path) -> bool:
        self._pending()[0].pop(path, None)
        if self._staging is not None:
            return self._staging.remove(path)
        path.unlink(missing_ok=True)
        return True

    def _changed(self, folder: Path) -> None:
        self._pending()[1].add(folder)

    def _pending(self) -> tuple[dict[Path, None], set[Path]]:
        """The files and folders that this thread has written and not synced."""
        kept = self._unsynced.__dict__
        if not kept:
            kept["files"], kept["folders"] = {}, set()
        return kept["files"], kept["folders"]

    def _taken(self) -> tuple[list[Path], set[Path]]:
        """The files to sync and all folders to sync with them, which are pending no longer."""
        files, folders = self._pending()
        self._unsynced.__dict__.clear()
        return list(files), self._with_new(folders) if folders else set()

    def _with_new(self, folders: set[Path]) -> set[Path]:
        """These folders, and of those that may be new all that hold them, up to the place itself."""
        assert self.root is not None
        found = set(folders)
        for folder in folders - self._known:
            while folder != self.root and folder != folder.parent:
                folder = folder.parent
                found.add(folder)
            found.add(self.root.parent)
        return {folder for folder in found if folder.exists()}


class OwnedPlaces:
    """The folders that one owner writes, by their URLs: opened once, and made durable together."""

    def __init__(self, owner: str = "", check: Callable[[], None] = lambda: None) -> None:
        """`owner` has its staging folders there; `check` raises Overtaken once nothing may be written."""
        self._owner, self._check = owner, check
        self._open: dict[str, OwnedFolder] = {}

    def at(self, url: str) -> OwnedFolder:
        """The folder at a URL, the same for all threads."""
        if url not in self._open:
            self._open.setdefault(url, OwnedFolder(url, self._owner, self._check))
        return self._open[url]

    def sync(self) -> None:
        """Make durable all that this thread has written or deleted."""
        _sync(list(self._open.values()))


def _sync(folders: list[OwnedFolder]) -> None:
    """Make durable what this thread has changed in these, all at once. Where that fails nothing stays
    pending: all of it has to be written again."""
    taken = [(folder, *folder._taken()) for folder in folders]
    try:
        make_durable(path for _, files, held in taken for path in (*files, *held))
    except OSError as error:
        why = said(OSError(error.errno, error.strerror))
        raise StorageError(f"could not make {error.filename} durable: {why}") from error
    for folder, _, held in taken:
        folder._known |= held
