"""Workers that only pass the time, for the real runner, ledger, queue and pool: thousands of them, and a
million chunks, on one core."""

from __future__ import annotations

import heapq
import json
import secrets
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from chunkflow.data.folder import Folder
from chunkflow.data.info import ImageInfo
from chunkflow.data.volume import layer_document
from chunkflow.engine.planning.job import Job
from chunkflow.engine.pool.executor import BatchDone, Happening, Up
from chunkflow.engine.queue.cells import NOWHERE, Answer, Range, WorkerPlace
from chunkflow.geometry import Box, Vec

CHUNK = 64


class SimulatedExecutor:
    """Workers that do one batch after the other, each cell in so many seconds of the clock on the wall; what
    is due next lies on a heap, so that thousands of them cost no thread."""

    def __init__(
        self, seconds: Callable[[int], float], place_of: Callable[[str], WorkerPlace] = lambda worker: NOWHERE
    ) -> None:
        self._seconds, self._place_of = seconds, place_of
        self._places: dict[str, WorkerPlace] = {}
        self._free: dict[str, float] = {}  # when each worker will have done all that it has in flight
        self._due: list[tuple[float, int, Happening]] = []
        self._order = count()
        self._names = count()
        self._pool = secrets.token_hex(2)  # several may share a queue, and names are in the ledger

    def start_worker(self, kind: int = 0) -> str:
        name = f"simulated-{self._pool}-{next(self._names)}"
        self._places[name] = self._place_of(name)
        self._free[name] = time.monotonic()
        heapq.heappush(self._due, (self._free[name], next(self._order), Up(name)))
        return name

    def submit(self, worker: str, batch: Range) -> None:
        now = time.monotonic()
        begin = max(self._free[worker], now)
        started = time.time() + begin - now
        seconds = self._seconds(batch.stage)
        self._free[worker] = begin + seconds * len(batch)
        answers = [
            Answer(
                batch.stage,
                index,
                worker,
                started=started + seconds * place,
                seconds=(0.0, seconds, 0.0),
                bytes_out=CHUNK**3,
                place=self._places[worker],
            )
            for place, index in enumerate(range(batch.start, batch.stop))
        ]
        done = BatchDone(worker, batch, answers)
        heapq.heappush(self._due, (self._free[worker], next(self._order), done))

    def wait(self, seconds: float) -> list[Happening]:
        now = time.monotonic()
        if not self._due or self._due[0][0] > now:
            time.sleep(min(seconds, self._due[0][0] - now) if self._due else seconds)
            now = time.monotonic()
        happened = []
        while self._due and self._due[0][0] <= now:
            event = heapq.heappop(self._due)[2]
            if event.worker in self._free:
                happened.append(event)
        return happened

    def end_worker(self, worker: str) -> None:
        self._free.pop(worker, None)

    def heartbeat(self) -> None:
        pass

    def close(self) -> None:
        self._free.clear()
        self._due.clear()


def layer_without_voxels(folder: Path, size: Vec) -> str:
    """Make an image that is an info file alone; returns its place."""
    voxel_size = (1000.0, 1000.0, 1000.0)
    info = ImageInfo(url=str(folder / "none"), volume=Box.of_size(size), voxel_size=voxel_size)
    Folder(info.url).put("info", json.dumps(layer_document([info])).encode())
    return info.url


def job_of(folder: Path, name: str, shape: tuple[int, int, int], tasks: Sequence[str]) -> Job:
    """A job of these tasks of engine_tasks.py, each of what the one before makes, over a layer without
    voxels."""
    size = (shape[0] * CHUNK, shape[1] * CHUNK, shape[2] * CHUNK)
    made = {f"layer{i + 1}": str(folder / name / f"{i + 1}") for i in range(len(tasks))}
    document = {
        "job": name,
        "work": str(folder / name / "work"),
        "chunk": [CHUNK] * 3,
        "storage": [CHUNK] * 3,
        "layers": {"layer0": layer_without_voxels(folder, size)} | made,
        "tasks": [
            {f"testbed.engine_tasks:{task}": {"image": f"layer{i}", "copied": f"layer{i + 1}"}}
            for i, task in enumerate(tasks)
        ],
    }
    return Job.from_document(document, folder)
