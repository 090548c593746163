"""Parts: what a cell leaves for the reducer in the work folder: rows sorted by id, and the files it wrote.

A part is one Arrow file, or several where its rows are many: `<index>.arrow` holds the first rows and says
how many more files there are, and is written last. It is written even where there are no rows, so that a
part which is missing is an error and never a silent gap. Rows that are sent to cells of a later stage lie in
a file for each of these, and the part itself, written last, says which. Such a part has no rows in its first
file, which every cell that gathers reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.data.checksums import seal, unseal
from chunkflow.data.folder import Folder
from chunkflow.errors import DamagedInput

BATCH = 2**17
"""Rows that are held at once; a part with more is read and written piece by piece."""
AT_ONCE = 256
"""Files that are asked for together."""
HEADS_AT_ONCE = 8
"""The same where each may hold as many rows as a batch."""
UNTOLD = ""
"""Stands for the output in parts of an earlier chunkflow, which do not tell in which one a file lies."""

Files = Mapping[str, Sequence[str]]
"""The names of files, by the output in whose folder they lie."""


class Parts:
    """The parts of one work folder; where it does not write, all is made up to the writing itself."""

    def __init__(self, folder: Folder, writes: bool = True) -> None:
        self._folder = folder
        self._writes = writes
        self._sent: dict[tuple[str, int], frozenset[int]] = {}

    def put(
        self,
        stage: str,
        index: int,
        rows: Iterable[pa.Table],
        files: Files | None = None,
        sent: Iterable[tuple[int, pa.Table]] | None = None,
    ) -> int:
        """Write a part: pieces in the order of their ids, and what its cell sends to others, each of them
        once; returns the number of bytes."""
        size = pieces = 0
        cells = []
        for cell, found in sent or ():
            size += self._put(f"{_place(stage, index)}-to-{cell}.arrow", _encode(found, {}))
            cells.append(cell)
        head: pa.Table | None = None
        for piece in rows:
            if head is None:
                head = piece if sent is None else piece.slice(0, 0)
                if sent is None or not len(piece):
                    continue
            pieces += 1
            size += self._put(f"{_place(stage, index)}-{pieces}.arrow", _encode(piece, {}))
        if head is None:
            head = pa.table({"id": pa.array([], pa.uint64())})
        metadata = {"pieces": str(pieces), "files": json.dumps(files or {})}
        data = _encode(head, metadata if sent is None else metadata | {"sent": json.dumps(cells)})
        return size + self._put(f"{_place(stage, index)}.arrow", data)

    def gathered(self, stage: str, senders: int, cell: int) -> pa.Table:
        """What all cells of a stage, `senders` of them, sent to this one."""
        self._ask_who_sent(stage, senders)
        names = [
            f"{_place(stage, sender)}-to-{cell}.arrow"
            for sender in range(senders)
            if cell in self._sent[stage, sender]
        ]
        found = [rows.replace_schema_metadata(None) for rows in self._read_all(names)]
        return pa.concat_tables(found).combine_chunks() if found else pa.table({})

    def _ask_who_sent(self, stage: str, senders: int) -> None:
        """Which cells each one sent rows to. Every cell that gathers asks, so it is read once a worker."""
        unknown = [sender for sender in range(senders) if (stage, sender) not in self._sent]
        heads = self._read_all([f"{_place(stage, sender)}.arrow" for sender in unknown])
        for sender, head in zip(unknown, heads, strict=True):
            self._sent[stage, sender] = frozenset(json.loads(head.schema.metadata[b"sent"]))

    def rows(self, stage: str, index: int) -> Iterator[pa.Table]:
        """The pieces of a part, one at a time."""
        return next(self.each(stage, [index]))

    def each(self, stage: str, indexes: Sequence[int]) -> Iterator[Iterator[pa.Table]]:
        """The pieces of several parts, part by part, whose first pieces are fetched side by side."""
        for index, head in self._heads(stage, indexes):
            yield self._pieces(stage, index, head)

    def _pieces(self, stage: str, index: int, head: pa.Table) -> Iterator[pa.Table]:
        yield head.replace_schema_metadata(None)
        for piece in range(1, int(head.schema.metadata[b"pieces"]) + 1):
            yield self._read(f"{_place(stage, index)}-{piece}.arrow").replace_schema_metadata(None)

    def written(self, stage: str, indexes: Sequence[int]) -> Iterator[tuple[list[str], Files]]:
        """Of each part that was written, the files that it consists of, and those that its cell wrote beside
        it."""
        for start in range(0, len(indexes), AT_ONCE):
            some = indexes[start : start + AT_ONCE]
            names = [f"{_place(stage, index)}.arrow" for index in some]
            for index, name, data in zip(some, names, self._folder.get_all(names), strict=True):
                if data is None:
                    continue
                try:
                    head = self._decoded(name, data).schema.metadata
                    yield _own_names(_place(stage, index), head), _files(head)
                except (DamagedInput, KeyError, TypeError):  # what it named beside itself is not known
                    yield self._names_there(_place(stage, index)), {}

    def _names_there(self, place: str) -> list[str]:
        """The files of a part that are there, whatever it says itself."""
        return [name for name in self._folder.list(place) if re.match(r"[-.]", name[len(place) :])]

    def place(self, stage: str, index: int) -> str:
        """The part in words, and the URL of the first of its files."""
        return f"The part {self._folder.url}/{_place(stage, index)}.arrow"

    def checked(self, stage: str, index: int) -> Files:
        """The files that a cell wrote beside its part; raises DamagedInput where a file of the part itself is
        missing or damaged."""
        name = f"{_place(stage, index)}.arrow"
        head = self._read(name).schema.metadata
        if not head or b"files" not in head or b"pieces" not in head:
            raise DamagedInput(f"{self.place(stage, index)} is damaged: it does not say what it is.")
        for other in _own_names(_place(stage, index), head)[1:]:
            self._read(other)
        return _files(head)

    def _heads(self, stage: str, indexes: Sequence[int]) -> Iterator[tuple[int, pa.Table]]:
        for start in range(0, len(indexes), HEADS_AT_ONCE):
            some = indexes[start : start + HEADS_AT_ONCE]
            yield from zip(some, self._read_all([f"{_place(stage, i)}.arrow" for i in some]), strict=True)

    def put_values(self, stage: str, values: dict[str, object]) -> None:
        """What a `prepare` decided."""
        self._put(values_file(stage), json.dumps(values).encode())

    def values(self, stage: str) -> dict[str, object]:
        place = f"{self._folder.url}/{values_file(stage)}"
        data = self._folder.get(values_file(stage))
        if data is None:
            raise DamagedInput(f"{place} is missing: what was decided is not known.")
        try:
            return dict(json.loads(unseal(data, place)))
        except ValueError as error:
            raise DamagedInput(f"{place} is damaged: {error}") from error

    def _put(self, name: str, data: bytes) -> int:
        """Write a file with its checksum; returns the number of bytes."""
        sealed = seal(data)
        if self._writes:
            self._folder.put(name, sealed)
        return len(sealed)

    def _read(self, name: str) -> pa.Table:
        return next(self._read_all([name]))

    def _read_all(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Many files, fetched side by side from a cloud, a number of them at a time."""
        for first in range(0, len(names), AT_ONCE):
            some = names[first : first + AT_ONCE]
            for name, data in zip(some, self._folder.get_all(some), strict=True):
                yield self._decoded(name, data)

    def _decoded(self, name: str, data: bytes | None) -> pa.Table:
        place = f"The part {self._folder.url}/{name}"
        if data is None:
            raise DamagedInput(f"{place} is missing.")
        try:
            return pa.ipc.open_file(pa.py_buffer(unseal(data, place))).read_all()
        except (pa.ArrowInvalid, OSError) as error:
            raise DamagedInput(f"{place} is damaged: {error}") from error


def values_file(stage: str) -> str:
    """The name of the file that holds what a `prepare` decided, in the work folder."""
    return f"parts/{stage}.json"


def _place(stage: str, index: int) -> str:
    return f"parts/{stage}/{index // 1000:04d}/{index}"


def _own_names(place: str, head: Mapping[bytes, bytes]) -> list[str]:
    return [
        f"{place}.arrow",
        *(f"{place}-{piece}.arrow" for piece in range(1, int(head[b"pieces"]) + 1)),
        *(f"{place}-to-{cell}.arrow" for cell in json.loads(head.get(b"sent", b"[]"))),
    ]


def _files(head: Mapping[bytes, bytes]) -> Files:
    found = json.loads(head[b"files"])
    return found if isinstance(found, dict) else {UNTOLD: list(found)}


def _encode(rows: pa.Table, metadata: dict[str, str]) -> bytes:
    rows = rows.replace_schema_metadata(metadata or None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


def in_order(pieces: Iterable[pa.Table], batch: int = BATCH) -> Iterator[pa.Table]:
    """Cut sorted rows into pieces of at most `batch`."""
    for piece in pieces:
        for start in range(0, max(len(piece), 1), batch):
            yield piece.slice(start, batch)


def by_whole_keys(rows: pa.Table, key: Sequence[str]) -> Iterator[pa.Table]:
    """Cut rows sorted by their key into pieces of at most BATCH; of one key all are in one, however many."""
    changes = np.zeros(max(len(rows) - 1, 0), np.bool_)
    for name in key:
        codes = rows[name].combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
        changes |= codes[1:] != codes[:-1]
    ends = [*(np.flatnonzero(changes) + 1).tolist(), len(rows)]
    start = 0
    for end, following in pairwise([*ends, len(rows) + BATCH + 1]):
        if following - start > BATCH:
            yield rows.slice(start, end - start)
            start = end


def merged_streams(streams: Sequence[Iterator[pa.Table]]) -> Iterator[pa.Table]:
    """Rows of several streams, each in the order of its ids, in pieces that share no id, each sorted by id.

    1. Hold one piece of each stream, and the one after it; go on where all of a piece has been handed out.
    2. All ids up to the smallest last id among the streams that have more to come are complete.
    3. Hand those out together, and go on.
    """
    held = [next(stream) for stream in streams]
    after = [_next_filled(stream) for stream in streams]
    while True:
        for i, stream in enumerate(streams):
            following = after[i]
            if not len(held[i]) and following is not None:
                held[i], after[i] = following, _next_filled(stream)
        lasts = [p["id"][-1].as_py() for p, more in zip(held, after, strict=True) if more is not None]
        counts = [_up_to(piece, min(lasts) if lasts else None) for piece in held]
        out = [piece.slice(0, count) for piece, count in zip(held, counts, strict=True)]
        held = [piece.slice(count) for piece, count in zip(held, counts, strict=True)]
        rows = pa.concat_tables(out, promote_options="default")
        yield rows.take(pc.sort_indices(rows, sort_keys=[("id", "ascending")]))
        if not lasts:
            return


def _next_filled(stream: Iterator[pa.Table]) -> pa.Table | None:
    return next((piece for piece in stream if len(piece)), None)


def _up_to(piece: pa.Table, limit: int | None) -> int:
    """How many rows of a sorted piece have ids up to `limit`."""
    if limit is None:
        return len(piece)
    return int(np.searchsorted(piece["id"].to_numpy(), np.uint64(limit), "right"))
