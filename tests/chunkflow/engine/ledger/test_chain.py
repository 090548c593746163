"""A chain has one writer at a time, keeps what was appended, and is read from its end."""

from __future__ import annotations

import json
import os
import random
import uuid
from pathlib import Path

import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.chain import Chain, Held
from chunkflow.errors import Overtaken, StorageError
from tests.support.ledgers import numbers, taken


def test_what_is_appended_is_loaded_and_followed(folder: Folder) -> None:
    writer, reader = taken(folder), Chain(folder)
    writer.append([{"a": 1}, {"b": [2.5, None, "ü"]}])
    snapshot, segments = reader.load(bytes)
    assert snapshot is None
    assert [(s.number, s.kind, s.records) for s in segments] == [
        (1, "taken", []),
        (2, "records", [{"a": 1}, {"b": [2.5, None, "ü"]}]),
    ]
    assert reader.follow() == []
    for i in range(300):
        writer.append([{"i": i}])
    assert numbers(reader.follow()) == list(range(3, 303))
    with pytest.raises(RuntimeError, match="must be taken"):
        reader.append([])


def test_an_overtaken_writer_stops(folder: Folder) -> None:
    first, second = taken(folder), taken(folder)
    with pytest.raises(Overtaken, match=f"taken over by .*process {os.getpid()}"):
        first.append([{"lost": 1}])
    with pytest.raises(RuntimeError, match="must be taken"):
        first.append([{"lost": 2}])
    second.append([{"kept": 1}])
    assert [s.records for s in Chain(folder).load(bytes)[1]] == [[], [], [{"kept": 1}]]


def test_old_segments_go_and_the_rest_is_found(folder: Folder, short_blocks: int) -> None:
    writer = taken(folder)
    for length in range(1, 64):
        snapshot, segments = Chain(folder).load(bytes)
        start = int(snapshot) if snapshot is not None else 0
        found = numbers(segments)
        assert found == list(range(start + 1, length + 1))
        assert len(found) <= short_blocks
        writer.append([])
        if writer.snapshot_due():
            writer.keep(str(writer.number).encode())
    kept = [name for name in folder.list() if name.endswith(".json")]
    assert len(kept) <= 64 / short_blocks + 2 * short_blocks


def test_a_snapshot_that_was_not_made_costs_only_time(folder: Folder, short_blocks: int) -> None:
    writer = taken(folder)
    chance = random.Random(1)
    for length in range(2, 120):
        writer.append([])
        if writer.snapshot_due() and chance.random() < 0.5:
            writer.keep(str(writer.number).encode())
        snapshot, segments = Chain(folder).load(bytes)
        start = int(snapshot) if snapshot is not None else 0
        assert numbers(segments) == list(range(start + 1, length + 1))


def test_a_writer_that_slept_while_its_numbers_were_deleted_stops(folder: Folder, short_blocks: int) -> None:
    for asleep_at in range(1, 8):
        part = folder.at(str(asleep_at))
        sleeper = taken(part)
        for _ in range(asleep_at):
            sleeper.append([])
        other = taken(part)
        for _ in range(40):
            other.append([])
            if other.snapshot_due():
                other.keep(str(other.number).encode())
        before = sorted(part.list())
        with pytest.raises(Overtaken):
            sleeper.append([{"stray": 1}])
        assert sorted(part.list()) == before
        other.append([])


def test_a_reader_that_was_away_is_told_to_load_again(folder: Folder, short_blocks: int) -> None:
    writer, reader = taken(folder), Chain(folder)
    reader.load(bytes)
    for _ in range(3):
        writer.append([])
    assert not reader.is_behind()
    for _ in range(10):
        writer.append([])
    assert reader.is_behind()


class Forgetful(Folder):
    """Makes the file, and loses the answer."""

    answers: list[str]

    def put_if_absent(self, name: str, data: bytes) -> bool:
        answer = self.answers.pop(0) if self.answers else ""
        if answer == "unmade":
            raise StorageError("no connection")
        made = super().put_if_absent(name, data)
        if answer == "lost":
            raise StorageError("connection reset")
        return made and answer != "taken"


def test_a_lost_answer_is_cleared_up_by_reading(tmp_path: Path) -> None:
    folder = Forgetful(str(tmp_path))
    folder.answers = []
    chain = taken(folder)
    folder.answers = ["taken"]
    chain.append([{"a": 1}])
    for answer, records in (("lost", [{"b": 1}]), ("unmade", [{"c": 1}])):
        folder.answers = [answer, "unmade"]
        with pytest.raises(StorageError):
            chain.append(records)
        with pytest.raises(RuntimeError, match="settled"):
            chain.append([{"too": "early"}])
        with pytest.raises(StorageError):
            chain.settle()
        segment = chain.settle()
        assert segment is not None
        assert segment.records == records
        assert chain.settle() is None
        chain.append([{"d": 1}])
    found = [r for s in Chain(folder).load(bytes)[1] for r in s.records]
    assert found == [{"a": 1}, {"b": 1}, {"d": 1}, {"c": 1}, {"d": 1}]


def test_on_s3_too(bucket: str, short_blocks: int) -> None:
    folder = Folder(f"{bucket}/{uuid.uuid4()}")
    first = taken(folder)
    for _ in range(7):
        first.append([])
        if first.snapshot_due():
            first.keep(str(first.number).encode())
    second = taken(folder)
    for _ in range(12):
        second.append([])
        if second.snapshot_due():
            second.keep(str(second.number).encode())
    before = sorted(folder.list())
    with pytest.raises(Overtaken):
        first.append([])
    assert sorted(folder.list()) == before
    snapshot, segments = Chain(folder).load(bytes)
    assert snapshot == b"20"
    assert numbers(segments) == [21]
    third = Chain(folder)
    third.load(bytes)
    with pytest.raises(Held):
        third.take(sleep=lambda seconds: (second.append([]), None)[1])


def test_segments_can_be_read_by_people(folder: Folder) -> None:
    taken(folder).append([{"kind": "done"}])
    text = folder.get("ledger/0000000002.json")
    assert text is not None
    assert json.loads(text.splitlines()[0])["records"] == [{"kind": "done"}]
