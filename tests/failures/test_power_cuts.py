"""A cut of power at any moment of a run costs work, never a result: what the ledger calls done is on disk."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import chunkflow as cf
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from testbed.power_cuts import PROGRAMS, CutDisk, cut_disk
from tests.support.four_tasks import job_of
from tests.support.jobs import ended_after, run_job
from tests.support.same import Outcome, all_made, assert_all_accounted, assert_same
from tests.support.slow_jobs import ENVIRONMENT, ROOT, SCRIPT

CUTS = 20
CHUNK = [16, 16, 32]
WORKS, RESTS = 0.02, 0.05
"""Seconds for which the run goes on and is stopped, in turn: the kernel's own seconds (a journal commit every
five, a write of old pages after thirty) then fall into a small job."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[CutDisk]:
    if os.geteuid() != 0 or not os.access("/dev/loop-control", os.W_OK):
        pytest.skip("only root may mount a file system in an image, and only where loop devices are")
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        pytest.fail(
            f"These tests mount disks of their own: apt install e2fsprogs btrfs-progs ({absent} absent)"
        )
    with cut_disk(tmp_path / "power") as made:
        yield made


class Numbering(threading.Thread):
    """Writes 1, 2, 3 ... into blocks of a file, past the cache, each once the one before is written."""

    BLOCK, BLOCKS = 4096, 4096

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path, self.written = path, 0
        self.stopped = threading.Event()
        path.write_bytes(bytes(self.BLOCK * self.BLOCKS))

    def run(self) -> None:
        page = mmap.mmap(-1, self.BLOCK)  # aligned, as O_DIRECT wants it
        file = os.open(self.path, os.O_WRONLY | os.O_DIRECT)
        for number, block in enumerate(random.Random(3).sample(range(self.BLOCKS), self.BLOCKS), 1):
            if self.stopped.is_set():
                break
            page[:8] = number.to_bytes(8, "little")
            os.pwritev(file, [page], block * self.BLOCK)
            self.written = number
        os.close(file)

    def found(self) -> list[int]:
        data = self.path.read_bytes()
        numbers = (int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), self.BLOCK))
        return sorted(filter(None, numbers))


def test_a_cut_leaves_the_writes_up_to_a_moment_and_nothing_later(disk: CutDisk) -> None:
    numbering = Numbering(disk.path / "numbers")
    disk.sync()
    numbering.start()
    cuts = []
    try:
        for some in range(50, 450, 50):
            while numbering.written < some:
                assert numbering.is_alive()
                time.sleep(0.001)
            before, copy = numbering.written, disk.cut()
            cuts.append((before, copy, numbering.written))
    finally:
        numbering.stopped.set()
        numbering.join()
    for before, copy, after in cuts:
        disk.power_on(copy)
        found = numbering.found()
        assert found == list(range(1, len(found) + 1))
        assert before <= len(found) <= after + 1  # a write that was under way may be there
        disk.check(copy)


def test_a_job_goes_on_as_if_nothing_was_after_a_cut_of_power(
    tmp_path: Path, disk: CutDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # what goes on here is not cut off any more
    clean = job_of(tmp_path / "clean", chunk=CHUNK, storage=CHUNK)
    assert run_job(clean) == "complete"
    expected = all_made(clean)
    job = job_of(disk.path, chunk=CHUNK, storage=CHUNK)
    disk.sync()  # the image lies there for long
    broken = []
    for cut, copy in enumerate(cuts_during(job, tmp_path, disk)):
        disk.power_on(copy)
        if wrong := wrong_after_resuming(job, expected):
            broken.append(f"cut {cut}, {wrong}")
        disk.check(copy)
    assert not broken, f"{len(broken)} of {CUTS} cuts:\n" + "\n".join(broken)


def cuts_during(job: Job, folder: Path, disk: CutDisk) -> list[Path]:
    """Run the job in a process of its own, and cut the power at random moments all along."""
    (folder / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, str(SCRIPT), str(folder / "job.json")]
    dice = random.Random(7)
    cuts, at_work = [], 0
    running = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with ended_after(running):
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        ledger = Ledger.load(Folder(job.work))
        for cut in range(CUTS):
            share = (cut + dice.random()) / CUTS
            while running.poll() is None and share_done(ledger) < share:
                go_on(running, WORKS)
            go_on(running, dice.uniform(0.0, 0.5))  # segments come every second: between two of them, too
            at_work += running.poll() is None
            cuts.append(disk.cut())
    assert at_work >= CUTS / 4, running.communicate()
    return cuts


def go_on(running: subprocess.Popen[str], seconds: float) -> None:
    """Let the run go on for so long, with rests; it may end."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, WORKS))
        running.send_signal(signal.SIGSTOP)
        time.sleep(min(left, RESTS))
        running.send_signal(signal.SIGCONT)


def share_done(ledger: Ledger) -> float:
    stages = ledger.refresh().stages.values()
    return sum(stage.done for stage in stages) / max(sum(stage.cells for stage in stages), 1)


def wrong_after_resuming(job: Job, expected: Outcome) -> str:
    """What is wrong with a job after a cut of power, in a line; nothing should be."""
    try:
        known = Ledger.load(Folder(job.work)).state
        done = {name: stage.done for name, stage in known.stages.items() if stage.done}
    except Exception as error:
        return f"its ledger cannot be read: {error!r}"
    try:
        if known.job is not None:
            cf.open(job.work).status()
        ended = run_job(job)
        assert ended == "complete", ended
        assert_all_accounted(job)
        assert_same(all_made(job), expected, "resumed")
    except Exception as error:
        return f"{done} were done: {str(error).splitlines()[0][:200] or error!r}"
    return ""
