"""A chain is taken over only from a holder that is silent, closed or gone."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger import writer as writer_module
from chunkflow.engine.ledger.chain import Chain, Held
from chunkflow.engine.ledger.writer import Writer
from chunkflow.errors import Overtaken
from tests.support.ledgers import Clock, Process, numbers, taken


def test_a_living_holder_is_not_followed(folder: Folder) -> None:
    holder, other, clock = taken(folder), Chain(folder), Clock()
    other.load(bytes)
    clock.then = lambda: (holder.append([]), None)[1]
    with pytest.raises(
        Held, match=f"is held by a runner on .*, process {os.getpid()}, since .* sign of life"
    ):
        other.take(lease=4, clock=clock, sleep=clock.sleep)
    assert other.writer is None
    holder.append([])


def test_a_silent_holder_is_followed_by_the_watchers_own_clock(folder: Folder) -> None:
    holder, other, clock = taken(folder), Chain(folder), Clock()
    other.load(bytes)
    said: list[str] = []
    other.take(lease=4, clock=clock, sleep=clock.sleep, say=said.append)
    assert said[0].endswith("waiting up to 4 s for a sign of life.")
    assert 1004 <= clock.now <= 1005
    with pytest.raises(Overtaken):
        holder.append([])


def test_one_that_closed_is_followed_at_once(folder: Folder) -> None:
    holder, other, clock = taken(folder), Chain(folder), Clock()
    holder.close([])
    other.load(bytes)
    other.take(clock=clock, sleep=clock.sleep)
    assert clock.now == 1000


def test_one_that_closes_while_it_is_watched_is_followed(folder: Folder) -> None:
    holder, other, clock = taken(folder), Chain(folder), Clock()
    other.load(bytes)

    def close() -> None:
        holder.append([{"last": 1}])
        holder.close([])
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
        other.load(bytes)
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
    other.load(bytes)
    other.take(clock=clock, sleep=clock.sleep)
    assert clock.now == 1000


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
    snapshot, loaded = Chain(folder).load(bytes)
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
        other.load(bytes)
        with pytest.raises(Held, match=f"process {process.process.pid}"):
            other.take()
        os.kill(process.process.pid, signal.SIGSTOP)
        other.load(bytes)
        other.take(lease=3)
        number = other.append([{"mine": 1}]).number
        os.kill(process.process.pid, signal.SIGCONT)
        assert process.says().startswith("overtaken: ")
    finally:
        process.end()
    assert list(Chain(folder).load(bytes)[1])[-1].number == number


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
