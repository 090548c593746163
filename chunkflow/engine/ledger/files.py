"""Files of a ledger's chain: numbered segments and snapshots; which of them are damaged or lost, and mending.

All segments after the oldest snapshot that is kept are there: what comes before it is deleted only once a
later one is kept, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from chunkflow.data.checksums import unseal
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.segment import LedgerSegment
from chunkflow.errors import BadInput, DamagedInput

SEGMENT, SNAPSHOT = "json", "snapshot"

Kept = TypeVar("Kept")


class ChainFiles:
    """The files of one chain, by their numbers."""

    def __init__(self, folder: Folder, prefix: str) -> None:
        self.folder, self._prefix = folder, prefix

    def segment(self, number: int) -> str:
        """The name of a segment."""
        return f"{self._prefix}/{number:010d}.{SEGMENT}"

    def snapshot(self, number: int) -> str:
        """The name of the snapshot after a segment."""
        return f"{self._prefix}/{number:010d}.{SNAPSHOT}"

    def listed(self) -> Iterator[tuple[int, str, str]]:
        """The number of each file that is there, its kind and its name, in no order."""
        for name in self.folder.list(f"{self._prefix}/"):
            number, _, kind = name.rpartition("/")[2].partition(".")
            if number.isdigit() and kind in (SEGMENT, SNAPSHOT):
                yield int(number), kind, name

    def last(self) -> int:
        """The number of the last segment, 0 for none."""
        return max((number for number, kind, _ in self.listed() if kind == SEGMENT), default=0)

    def read_on(self, number: int) -> Iterator[tuple[int, bytes]]:
        """The segments from this number to the first that is not there, fetched in ever larger groups."""
        together = 1
        while True:
            for data in self.folder.get_all([self.segment(number + i) for i in range(together)]):
                if data is None:
                    return
                yield number, data
                number += 1
            together = min(2 * together, 128)

    def read_all(self, number: int, last: int) -> list[tuple[int, bytes | None]]:
        """All segments from this number on, at least to the `last` that was listed; None for one that is
        lost, as there are others after it."""
        found: list[tuple[int, bytes | None]] = list(self.read_on(number))
        while (following := number + len(found)) <= last:
            found += list(self.read_on(following)) or [(following, None)]
        return found

    def decoded(self, number: int, data: bytes | None) -> LedgerSegment:
        """The segment that was read; raises DamagedInput where it is lost or damaged."""
        place = f"{self.folder.url}/{self.segment(number)}"
        if data is None:
            raise DamagedInput(f"{place} is missing.")
        return LedgerSegment.decode(data, place)

    def damaged(self, decode: Callable[[bytes], object]) -> dict[str, str]:
        """A sentence on each file that is damaged or lost, those included that are no longer read; `decode`
        reads a snapshot."""
        there = sorted(self.listed())
        snapshots = [number for number, kind, _ in there if kind == SNAPSHOT]
        segments = {number for number, kind, _ in there if kind == SEGMENT}
        wanted = range(min(snapshots, default=0) + 1, max(segments, default=0) + 1)
        said = {self.segment(number): self._fault_of(number) for number in sorted({*segments, *wanted})}
        for number in snapshots:
            try:
                self.whole_snapshot(number, decode)
            except DamagedInput as error:
                said[self.snapshot(number)] = str(error)
        return {name: fault for name, fault in said.items() if fault}

    def _fault_of(self, number: int) -> str:
        """What is wrong with a segment that should be there; empty where nothing is."""
        try:
            self.decoded(number, self.folder.get(self.segment(number)))
        except DamagedInput as error:
            oldest = min((there for there, kind, _ in self.listed() if kind == SNAPSHOT), default=0)
            return str(error) if number > oldest or self.folder.exists(self.segment(number)) else ""
        return ""

    def whole_snapshot(self, number: int, decode: Callable[[bytes], Kept]) -> Kept | None:
        """The snapshot after a segment; None where there is none. Raises DamagedInput for a damaged one."""
        data = self.folder.get(self.snapshot(number))
        if data is None:
            return None
        place = f"{self.folder.url}/{self.snapshot(number)}"
        try:
            return decode(unseal(data, place))
        except (DamagedInput, BadInput):  # BadInput: it is whole, but of a later chunkflow
            raise
        except Exception as error:  # of an earlier chunkflow, without a seal: whatever decoding may raise
            raise DamagedInput(f"{place} is damaged: {type(error).__name__}: {error}") from error

    def mend(self, names: Iterable[str]) -> None:
        """Put a segment that says that it is lost, or nothing, in the place of each damaged file, which is
        kept beside it."""
        for name in names:
            data = self.folder.get(name)
            if data is not None:
                self.folder.put(f"{name}.damaged", data)
            number, _, kind = name.rpartition("/")[2].partition(".")
            if kind == SEGMENT:
                self.folder.put(name, LedgerSegment.lost(int(number)).encode())
                self.folder.make_durable([name])
            else:
                self.folder.discard([name])
