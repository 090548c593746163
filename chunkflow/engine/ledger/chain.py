"""Chain of numbered segments with one writer at a time, on any store with conditional puts.

A conditional put makes a file only if it is absent.

How a writer appends:
1. it makes `<prefix>/0000000042.json`, the next number, only if absent;
2. if the number is taken, it reads that segment: its own (the answer to its put was lost) counts as made,
   another writer's means that this one was overtaken and must stop;
3. it looks whether the chain is already in a later block of 500 numbers. Old segments are deleted, so a
   writer that was asleep for long could find its next number free again; the first segment of each block is
   never deleted;
4. after the last segment of a block the caller's state is kept as a snapshot, which says all that came
   before, and what lies before the snapshot before that is deleted.

How a reader finds the end: by a listing, so that a file that is lost ends nothing; then it reads the newest
snapshot and the segments after it.

How a chain changes hands: every segment, empty ones too, is a sign of life. A writer that closed says so;
one that was a process of this machine can be seen to be gone; any other is watched, by this machine's clock
alone, and followed when its lease runs out: when it makes no segment for several of its own heartbeats.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from chunkflow.data.checksums import seal
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.files import SNAPSHOT, ChainFiles
from chunkflow.engine.ledger.segment import LedgerSegment, Record, SegmentKind
from chunkflow.engine.ledger.writer import Writer
from chunkflow.errors import BadInput, DamagedInput, Overtaken, StorageError
from chunkflow.words import plain

BLOCK = 500
"""Segments between two snapshots."""

Kept = TypeVar("Kept")


class Held(BadInput):
    """Refusal of a work folder that another runner holds, whose lease lasts."""


class Chain:
    """The chain of one folder: load it, follow it, and after `take` append to it."""

    def __init__(
        self, folder: Folder, prefix: str = "ledger", heartbeat: float = 5.0, tolerant: bool = False
    ) -> None:
        """A `tolerant` one takes a damaged segment as one that is lost; else it raises DamagedInput."""
        self.folder = folder
        self.files = ChainFiles(folder, prefix)
        self.heartbeat = heartbeat
        self.damaged: dict[str, str] = {}
        """A sentence on each file that could not be read."""
        self._tolerant = tolerant
        self.last: LedgerSegment | None = None
        self.writer: Writer | None = None  # this process, once it has taken the chain
        self._unsure: LedgerSegment | None = None  # its put raised, so it may have been made or not
        self._appended = 0.0

    @property
    def number(self) -> int:
        """The number of the last segment known, 0 for none."""
        return self.last.number if self.last is not None else 0

    def load(self, decode: Callable[[bytes], Kept]) -> tuple[Kept | None, Iterator[LedgerSegment]]:
        """Read the newest snapshot that is whole, if any, and all segments after it; each is decoded, which
        takes many times its room, as it is asked for."""
        for _ in range(5):
            self.damaged = {}
            last = self.files.last()
            begun = _block_of(last)
            snapshot, block = None, begun + 1
            while snapshot is None and block > 0:
                snapshot = self._whole_snapshot(block * BLOCK, decode)
                # Its writer may have ended before it made this one; the segments since the last are there.
                block -= snapshot is None
            found = self.files.read_all(block * BLOCK + 1, last)
            if any(data is None for _, data in found) and _block_of(self.files.last()) != begun:
                continue  # the chain has moved on while it was read, and what was looked for is deleted
            self.last = self._decoded(*found[-1]) if found else self._read(block * BLOCK)
            if begun == 0 or self.number > begun * BLOCK:
                return snapshot, (self._decoded(number, data) for number, data in found)
        if self.damaged:
            raise DamagedInput(f"The ledger cannot be read: {' '.join(self.damaged.values())}")
        raise StorageError(f"the ledger in {self.folder.url} has a gap: files of it were deleted")

    def follow(self) -> list[LedgerSegment]:
        """The segments that came since; after a long absence there may be a gap, so then load again."""
        news = [self._decoded(number, data) for number, data in self.files.read_on(self.number + 1)]
        if news:
            self.last = news[-1]
        return news

    def is_behind(self) -> bool:
        """Whether the chain has gone on to a later block, so that following could miss what is deleted."""
        return self.folder.exists(self.files.segment(_block_of(self.number) * BLOCK + BLOCK + 1))

    def is_rewritten(self) -> bool:
        """Whether the last segment known is gone, or is another: the folder was emptied since."""
        if self.last is None:
            return False
        found = self._read(self.number)
        return found is None or (found.writer.id, found.at) != (self.last.writer.id, self.last.at)

    def take(
        self,
        lease: float = 4.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> list[LedgerSegment]:
        """Become the writer; return the segments that came while waiting. `load` must have been called.

        Raises Held while another gives signs of life; else takes over once its lease has run out, `lease` of
        its heartbeats after the last, and says before it waits for that.
        """
        watched = clock()
        if self.last is not None and not self._is_free():
            seconds = lease * self.last.heartbeat
            say(f"{self._whose(self.last)}: waiting up to {seconds:.0f} s for a sign of life.")
            following = self.files.segment(self.number + 1)
            while clock() - watched < seconds and not self._is_free() and not self.folder.exists(following):
                sleep(min(self.last.heartbeat / 4, 1.0))
        news = self.follow()
        if news and not self._is_free():
            ago = f"its last sign of life was seen less than {max(clock() - watched, 1):.0f} s ago"
            raise Held(f"{self._whose(news[-1])}; {ago}. Wait until it ends, or end it")
        self._make_taken()
        return news

    def _is_free(self) -> bool:
        """Whether the last writer known closed the chain, or is known to have ended."""
        return self.last is None or self.last.kind == "closed" or self.last.writer.has_ended()

    def append(self, records: list[Record], kind: SegmentKind = "records") -> LedgerSegment:
        """Append a segment.

        Raises Overtaken if another has taken the chain. After a StorageError nobody knows yet whether the
        segment was made: it waits, and `settle` must be called before the next.
        """
        if self.writer is None or self._unsure is not None:
            raise RuntimeError("the chain must be taken, and settled, before it is written")
        return self._make(
            LedgerSegment(self.number + 1, kind, self.writer, time.time(), self.heartbeat, records)
        )

    def settle(self) -> LedgerSegment | None:
        """Make the segment that failed to be made, if there is one; return it."""
        return self._make(self._unsure) if self._unsure is not None else None

    def seconds_since_append(self) -> float:
        return time.monotonic() - self._appended

    def snapshot_due(self) -> bool:
        """Whether the last segment ended a block, so that the caller should call `keep`."""
        return self.number > 0 and self.number % BLOCK == 0

    def keep(self, snapshot: bytes) -> None:
        """Keep the state after the last segment, which must end a block. What the snapshot before does not
        need is deleted: that one stays, in case this one comes to harm."""
        name = self.files.snapshot(self.number)
        self.folder.put(name, seal(snapshot))
        self.folder.make_durable([name])  # before what it stands for is deleted
        there = list(self.files.listed())
        snapshots = [number for number, kind, _ in there if kind == SNAPSHOT]
        before = max((number for number in snapshots if number < self.number), default=0)
        self.folder.discard(
            name
            for number, kind, name in there
            if (number < before if kind == SNAPSHOT else number <= before and number % BLOCK != 1)
        )

    def close(self, records: list[Record]) -> LedgerSegment:
        """Append a last segment, which lets another writer follow at once."""
        segment = self.append(records, "closed")
        self.writer = None
        return segment

    def _make_taken(self) -> None:
        self.writer = Writer.here()
        try:
            self.append([], "taken")
        except Overtaken as error:
            raise Held(str(error)) from error

    def _make(self, segment: LedgerSegment) -> LedgerSegment:
        name = self.files.segment(segment.number)
        self._unsure = segment
        made = self.folder.put_if_absent(name, segment.encode())
        if not made:
            other = self._read(segment.number)
            if other is None or other.writer.id != segment.writer.id:
                self._stop(other)
            self.folder.make_durable([name])  # it may be there, and not durable yet
        elif self.folder.exists(self.files.segment(_block_of(segment.number) * BLOCK + BLOCK + 1)):
            self.folder.discard([name])  # long past: nobody reads it there
            self._stop(None)
        self._unsure = None
        self.last = segment
        self._appended = time.monotonic()
        return segment

    def _stop(self, other: LedgerSegment | None) -> None:
        self.writer = self._unsure = None
        who = (
            f"by {other.writer.host}, process {other.writer.pid}"
            if other is not None
            else "by another runner"
        )
        raise Overtaken(f"{self.folder.url} was taken over {who}; this runner stops")

    def _whose(self, segment: LedgerSegment) -> str:
        writer = segment.writer
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(writer.since))
        return f"{self.folder.url} is held by a runner on {writer.host}, process {writer.pid}, since {since}"

    def _read(self, number: int) -> LedgerSegment | None:
        data = self.folder.get(self.files.segment(number)) if number > 0 else None
        return self._decoded(number, data) if data is not None else None

    def _decoded(self, number: int, data: bytes | None) -> LedgerSegment:
        try:
            return self.files.decoded(number, data)
        except DamagedInput as error:
            self.damaged[self.files.segment(number)] = str(error)
            if self._tolerant:
                return LedgerSegment.lost(number)
            remedy = f"A check of {plain(self.folder.url)} with `repair` lets what it told of be done again."
            raise DamagedInput(f"{error} {remedy}") from error

    def _whole_snapshot(self, number: int, decode: Callable[[bytes], Kept]) -> Kept | None:
        """The snapshot after a segment; None where there is none, or a damaged one."""
        try:
            return self.files.whole_snapshot(number, decode)
        except DamagedInput as error:
            self.damaged[self.files.snapshot(number)] = str(error)
            return None

    def verify(self, decode: Callable[[bytes], object]) -> None:
        """Find what is damaged among all files of the chain, those included that are no longer read."""
        self.damaged = self.files.damaged(decode)

    def mend(self) -> None:
        """Take what is damaged out of the chain. For its writer, which loaded it as tolerant."""
        self.files.mend(self.damaged)
        self.damaged = {}


def _block_of(number: int) -> int:
    return max(number - 1, 0) // BLOCK
