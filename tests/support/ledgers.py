"""A small job in a ledger, its cells, and writers of a chain: here, and in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.chain import Chain
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.segment import LedgerSegment
from chunkflow.engine.queue.cells import Answer, Cause
from tests.support.jobs import job_record

SPEC = {"job": "rat", "tasks": [{"segment": {"type": "segment", "diameter": 9.0}}]}
JOB = job_record("rat", SPEC)
CELLS = {"segment": 12, "measure": 7}


def done(
    ledger: Ledger, stage: str, index: int, attempt: int = 1, worker: str = "w", **answered: Any
) -> None:
    ledger.record_done(stage, Answer(0, index, worker, **answered), attempt)


def failed(ledger: Ledger, stage: str, index: int, attempt: int, final: bool) -> None:
    ledger.record_failed(stage, Answer(0, index, "w", Cause.BUG, traceback="Boom"), attempt, final)


WRITER = """
import sys, time
from chunkflow.engine.ledger.chain import Chain, Held
from chunkflow.errors import Overtaken
from chunkflow.data.folder import Folder
url, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
chain = Chain(Folder(url), heartbeat=0.2)
while chain.writer is None:
    chain.load(bytes)
    try:
        chain.take(lease=float(sys.argv[4]))
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

    def __init__(self, url: str, count: int = 1_000_000, pause: float = 0.01, lease: float = 3.0) -> None:
        command = [sys.executable, "-c", WRITER, url, str(count), str(pause), str(lease)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def taken(folder: Folder) -> Chain:
    chain = Chain(folder, heartbeat=1.0)
    chain.load(bytes)
    chain.take(lease=0)
    return chain


def numbers(segments: Iterable[LedgerSegment]) -> list[int]:
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
