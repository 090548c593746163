"""Places that a worker writes: folders of its run's owner, opened once, and made durable together."""

from __future__ import annotations

from collections.abc import Callable

from chunkflow.data.owned import OwnedFolder


class OwnedPlaces:
    """The folders that one worker writes, by their URLs."""

    def __init__(self, owner: str = "", check: Callable[[], None] = lambda: None) -> None:
        """`owner` has its staging folders there; `check` raises Overtaken once nothing may be written."""
        self._owner, self._check = owner, check
        self._open: dict[str, OwnedFolder] = {}

    def at(self, url: str) -> OwnedFolder:
        """The folder at a URL."""
        if url not in self._open:
            self._open[url] = OwnedFolder(url, self._owner, self._check)
        return self._open[url]

    def sync(self) -> None:
        """Make durable all that this thread has written."""
        for folder in list(self._open.values()):
            folder.sync()
