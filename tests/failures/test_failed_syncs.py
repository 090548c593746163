"""A disk that refuses to make files durable: what was to be is done again, and nothing is left without it."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from chunkflow.data import atomic
from chunkflow.engine.queue.cells import Cause, Range
from chunkflow.engine.run.events import CellDone, CellFailed, Event
from chunkflow.engine.worker.worker import Worker
from chunkflow.jobs.planned import open_plan
from tests.support.jobs import run_job
from tests.support.smooth_jobs import CHUNK, as_without_fault, smooth_job


class Disk:
    """Knows what was written and is not synced; refuses the first sync of a file or folder named `fails`."""

    def __init__(self, patch: pytest.MonkeyPatch, fails: str) -> None:
        self._fails = fails
        self.refused = 0
        self.written: set[Path] = set()
        self.unsynced: set[Path] = set()
        self._sync, self._replace = atomic._sync, os.replace
        patch.setattr(atomic, "_sync", self.sync)
        patch.setattr(os, "replace", self.replace)

    def replace(self, source: Path, target: Path) -> None:
        self._replace(source, target)
        self.written.add(target)
        self.unsynced |= {target, target.parent}

    def sync(self, path: Path) -> None:
        if path.name == self._fails and not self.refused:
            self.refused += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._sync(path)
        self.unsynced.discard(path)


@pytest.mark.parametrize("fails", [CHUNK, "1000_1000_2000"])
def test_chunks_whose_files_could_not_be_made_durable_are_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    job, events = smooth_job(tmp_path), list[Event]()
    with monkeypatch.context() as patch:
        disk = Disk(patch, fails)
        assert run_job(job, listeners=[events.append]) == "complete"
    failed = {e.answer.index: e.answer for e in events if isinstance(e, CellFailed)}
    done = [event.answer.index for event in events if isinstance(event, CellDone)]
    assert disk.refused
    assert failed
    assert sorted(done) == list(range(8))
    for answer in failed.values():
        assert answer.cause is Cause.STORAGE
        assert f"smooth/1000_1000_2000/{fails}".removesuffix("/1000_1000_2000") in answer.traceback
    assert len([path for path in disk.written if path.parent.name == "1000_1000_2000"]) == 8
    assert not disk.unsynced, "what was written last was made durable after that"
    as_without_fault(job, tmp_path)


def test_a_sync_counts_as_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(open_plan(smooth_job(tmp_path)), "worker")
    monkeypatch.setattr(atomic, "_sync", lambda path: time.sleep(1.0))
    answers = worker.process(Range(0, 0, 4))
    assert [answer.cause for answer in answers] == [None] * 4
    assert all(0.25 <= answer.seconds[2] < 1.0 for answer in answers), "each has its share"
