"""A chain has one writer at a time, whoever is paused, killed or late, and is read from its end."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger import chain as chain_module
from chunkflow.engine.ledger import writer as writer_module
from chunkflow.engine.ledger.chain import Chain, Held, Segment
from chunkflow.engine.ledger.writer import Writer
from chunkflow.errors import Overtaken, StorageError
from tests.support.servers import s3_bucket

WRITER = """
import sys, time
from chunkflow.chain import Chain, Held
from chunkflow.errors import Overtaken
from chunkflow.storage import Folder
url, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
chain = Chain(Folder(url), heartbeat=0.2)
while chain.writer is None:
    chain.load()
    try:
        chain.take(silence=float(sys.argv[4]))
    except Held:
        pass
print("taken", flush=True)
try:
    for i in range(count):
        chain.append([{"i": i}])
        if chain.snapshot_due():
            chain.keep(str(chain.number).encode())
        time.sleep(pause)
    print("finished", flush=True)
except Overtaken as error:
    print("overtaken:", error, flush=True)
"""


class Process:
    """A writer in a process of its own."""

    def __init__(self, url: str, count: int = 1_000_000, pause: float = 0.01, silence: float = 3.0) -> None:
        command = [sys.executable, "-c", WRITER, url, str(count), str(pause), str(silence)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path))


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(chain_module, "BLOCK", 5)
    return 5


def taken(folder: Folder) -> Chain:
    chain = Chain(folder, heartbeat=1.0)
    chain.load()
    chain.take(silence=0)
    return chain


def numbers(segments: Iterable[Segment]) -> list[int]:
    return [segment.number for segment in segments]


class Clock:
    """Time that passes only by sleeping; `then` is called at each sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.then = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.then()


def test_what_is_appended_is_loaded_and_followed(folder: Folder) -> None:
    writer, reader = taken(folder), Chain(folder)
    writer.append([{"a": 1}, {"b": [2.5, None, "ü"]}])
    snapshot, segments = reader.load()
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
    assert [s.records for s in Chain(folder).load()[1]] == [[], [], [{"kept": 1}]]


def test_a_living_holder_is_not_followed(folder: Folder) -> None:
    holder, other, clock = taken(folder), Chain(folder), Clock()
    other.load()
    clock.then = lambda: (holder.append([]), None)[1]
    with pytest.raises(
        Held, match=f"is held by a runner on .*, process {os.getpid()}, since .* sign of life"
    ):
        other.take(silence=4, clock=clock, sleep=clock.sleep)
    assert other.writer is None
    holder.append([])


def test_a_silent_holder_is_followed_by_the_watchers_own_clock(folder: Folder) -> None:
    holder, other, clock = taken(folder), Chain(folder), Clock()
    other.load()
    said: list[str] = []
    other.take(silence=4, clock=clock, sleep=clock.sleep, say=said.append)
    assert said[0].endswith("waiting up to 4 s for a sign of life")
    assert 1004 <= clock.now <= 1005
    with pytest.raises(Overtaken):
        holder.append([])


def test_one_that_closed_is_followed_at_once(folder: Folder) -> None:
    holder, other, clock = taken(folder), Chain(folder), Clock()
    holder.close()
    other.load()
    other.take(clock=clock, sleep=clock.sleep)
    assert clock.now == 1000


def test_one_that_closes_while_it_is_watched_is_followed(folder: Folder) -> None:
    holder, other, clock = taken(folder), Chain(folder), Clock()
    other.load()

    def close() -> None:
        holder.append([{"last": 1}])
        holder.close()
        clock.then = lambda: None

    clock.then = close
    news = other.take(clock=clock, sleep=clock.sleep)
    assert [s.kind for s in news] == ["records", "closed"]
    assert clock.now <= 1001


def test_one_that_ended_after_a_last_word_is_followed(folder: Folder, tmp_path: Path) -> None:
    process = Process(str(tmp_path), 3, 0.05)
    try:
        assert process.says() == "taken"
        other, clock = Chain(folder), Clock()
        other.load()
        known = other.number
        assert process.says() == "finished"
    finally:
        process.end()
    news = other.take(clock=clock, sleep=clock.sleep)
    assert numbers(news) == list(range(known + 1, 5))
    assert clock.now == 1000


def test_one_that_was_killed_on_this_machine_is_followed_at_once(folder: Folder, tmp_path: Path) -> None:
    process = Process(str(tmp_path))
    try:
        assert process.says() == "taken"
    finally:
        process.end()
    other, clock = Chain(folder), Clock()
    other.load()
    other.take(clock=clock, sleep=clock.sleep)
    assert clock.now == 1000


def test_old_segments_go_and_the_rest_is_found(folder: Folder, short_blocks: int) -> None:
    writer = taken(folder)
    for length in range(1, 64):
        snapshot, segments = Chain(folder).load()
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
        snapshot, segments = Chain(folder).load()
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
    reader.load()
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
    found = [r for s in Chain(folder).load()[1] for r in s.records]
    assert found == [{"a": 1}, {"b": 1}, {"d": 1}, {"c": 1}, {"d": 1}]


def test_two_processes_leave_one_unbroken_chain(folder: Folder, tmp_path: Path) -> None:
    first = Process(str(tmp_path), 2000, 0.01, 0)
    second = None
    try:
        assert first.says() == "taken"
        time.sleep(0.1)
        second = Process(str(tmp_path), 300, 0, 0)
        assert first.says().startswith("overtaken: ")
        words = [second.says(), second.says()]
    finally:
        first.end()
        if second is not None:
            second.end()
    assert words == ["taken", "finished"]
    snapshot, loaded = Chain(folder).load()
    segments = list(loaded)
    start = int(snapshot) if snapshot is not None else 0
    assert numbers(segments) == list(range(start + 1, start + len(segments) + 1))
    takes = [i for i, s in enumerate(segments) if s.kind == "taken" and s.writer.pid == second.process.pid]
    own = segments[takes[0] :] if takes else segments  # a snapshot may stand for what came before
    assert {s.writer.pid for s in own} == {second.process.pid}
    written = [s.records for s in own if s.kind != "taken"]
    assert written == [[{"i": i}] for i in range(300 - len(written), 300)]
    assert len(written) == 300 or not takes


def test_a_paused_writer_is_overtaken_and_stops_when_it_goes_on(folder: Folder, tmp_path: Path) -> None:
    process = Process(str(tmp_path))
    try:
        assert process.says() == "taken"
        other = Chain(folder, heartbeat=0.2)
        other.load()
        with pytest.raises(Held, match=f"process {process.process.pid}"):
            other.take()
        os.kill(process.process.pid, signal.SIGSTOP)
        other.load()
        other.take(silence=3)
        number = other.append([{"mine": 1}]).number
        os.kill(process.process.pid, signal.SIGCONT)
        assert process.says().startswith("overtaken: ")
    finally:
        process.end()
    assert list(Chain(folder).load()[1])[-1].number == number


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("chains") as url:
        yield url


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
    snapshot, segments = Chain(folder).load()
    assert snapshot == b"20"
    assert numbers(segments) == [21]
    third = Chain(folder)
    third.load()
    with pytest.raises(Held):
        third.take(sleep=lambda seconds: (second.append([]), None)[1])


def test_segments_can_be_read_by_people(folder: Folder) -> None:
    taken(folder).append([{"kind": "done"}])
    text = folder.get("ledger/0000000002.json")
    assert text is not None
    assert json.loads(text)["records"] == [{"kind": "done"}]


def test_only_a_process_that_is_surely_gone_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Writer.here()
    assert not here.has_ended()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child = dataclasses.replace(here, pid=process.pid, born=writer_module._born(process.pid))
    try:
        assert not child.has_ended()
        assert dataclasses.replace(child, born=1).has_ended()  # its pid was given to another process
    finally:
        process.communicate(b"\n")
    assert child.has_ended()
    assert not dataclasses.replace(child, machine="another").has_ended()
    assert not dataclasses.replace(child, machine="").has_ended()

    def kill(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)  # as where /proc hides what other users run
    assert not child.has_ended()
