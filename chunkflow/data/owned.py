"""A folder that one owner of a job writes, until its successor closes it off."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO

from chunkflow.data.atomic import make_durable, twins_of, write_whole
from chunkflow.data.folder import AT_ONCE, Folder, side_by_side
from chunkflow.data.staging import Staging


def staging_of(url: str, owner: str) -> Staging | None:
    """The staging folder of an owner at a URL; None in an object store, which has no folders."""
    root = Folder(url).root
    return Staging(root, owner) if root is not None else None


class OwnedFolder(Folder):
    """A folder whose files come in by a staging folder, and are durable once `sync` returns.

    Where there is no staging folder (an object store, or no owner) `check` alone keeps a former owner from
    writing: it is called before each file on a disk, and before each group of files in a store.
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

    def put_all(self, files: Mapping[str, bytes], compress: str = "") -> None:
        names = list(files)
        if self.root is None:
            for start in range(0, len(names), AT_ONCE):
                self._check()
                some = names[start : start + AT_ONCE]
                side_by_side(lambda name: Folder.put(self, name, files[name], compress), some)
            return
        for name in names:
            self._check()
            with self._speaking_of("write", name):
                self._write(self._path(name), files[name])

    def discard(self, names: Iterable[str]) -> None:
        named = list(names)
        if self.root is None:
            for start in range(0, len(named), AT_ONCE):
                self._check()
                super().discard(named[start : start + AT_ONCE])
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
        files, folders = self._pending()
        if not files and not folders:
            return
        self._unsynced.__dict__.clear()
        with self._speaking_of("make durable what was written in", ""):
            make_durable(files, self._with_new(folders))
        self._known |= folders

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
