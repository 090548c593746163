"""Writers of a chain: in this process, in one of their own, and a clock of the test's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.chain import Chain, LedgerSegment

WRITER = """
import sys, time
from chunkflow.engine.ledger.chain import Chain, Held
from chunkflow.errors import Overtaken
from chunkflow.data.folder import Folder
url, count, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
chain = Chain(Folder(url), heartbeat=0.2)
while chain.writer is None:
    chain.load()
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
    chain.load()
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
