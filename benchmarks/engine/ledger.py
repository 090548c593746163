"""The ledger of a long run: how fast it is written, loaded, and what it keeps in memory."""

from __future__ import annotations

import json
import shutil
import tempfile
import time

import numpy as np
import psutil

from benchmarks.figure import Figure
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.chain import BLOCK, Chain
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.record import JobRecord
from chunkflow.engine.planning.job import Job, TaskEntry
from chunkflow.engine.planning.spec import PlanSpec
from chunkflow.engine.queue.cells import Answer

STAGES = {"segment": 400_000, "measure": 400_000, "mesh": 200_000}


def append_empty_segments(folder: Folder, count: int = 1000) -> float:
    """Segments a second, each on disk before the next."""
    chain = Chain(folder)
    chain.load(bytes)
    chain.take()
    start = time.perf_counter()
    for _ in range(count):
        chain.append([])
        if chain.snapshot_due():
            chain.keep(b"")
    return count / (time.perf_counter() - start)


def write_a_million_cells(folder: Folder, cells_a_flush: int = 800) -> float:
    """Cells a second through record_done, in shuffled order, with all flushes and snapshots."""
    order = np.random.default_rng(1)
    work = [(stage, int(index)) for stage, cells in STAGES.items() for index in order.permutation(cells)]
    job = Job(name="bench", work="file:///bench", tasks=[TaskEntry(name="segment", type="segment")])
    plan = PlanSpec(job=job, box=None, chunk=(64, 64, 64), layers=[])
    record = JobRecord(spec={"tasks": [{"segment": {"type": "segment"}}]}, plan=plan, grids={})
    start = time.perf_counter()
    with Ledger.load(folder).take() as ledger:
        ledger.record_job(record, {}, STAGES)
        for number, (stage, index) in enumerate(work):
            ledger.record_done(
                stage, Answer(0, index, "w1", seconds=(0.1, 0.2, 0.3), bytes_in=1, bytes_out=1)
            )
            if number % cells_a_flush == 0:
                ledger.flush(now=True)
    return len(work) / (time.perf_counter() - start)


def age(folder: Folder, heartbeats: int = 1_000_000) -> None:
    """Make the chain look as if so many heartbeats followed, by writing what would be left of them."""
    with Ledger.load(folder).take() as ledger:
        template, state = ledger._chain.last, ledger.state.encode()
    assert template is not None
    begun = template.number // BLOCK + 1
    blocks = begun + heartbeats // BLOCK
    last = blocks * BLOCK - 1
    whole = range((blocks - 2) * BLOCK + 1, last + 1)
    for number in [*(block * BLOCK + 1 for block in range(begun, blocks)), *whole]:
        body = json.loads(template.encode()) | {"number": number}
        folder.put(f"ledger/{number:010d}.json", json.dumps(body).encode())
    folder.put(f"ledger/{(blocks - 1) * BLOCK:010d}.snapshot", state)


def load(folder: Folder) -> tuple[float, float]:
    """Seconds to load, and megabytes that the process grew by."""
    process = psutil.Process()
    before = process.memory_info().rss
    start = time.perf_counter()
    ledger = Ledger.load(folder)
    seconds = time.perf_counter() - start
    assert sum(stage.done for stage in ledger.stages.values()) == sum(STAGES.values())
    return seconds, (process.memory_info().rss - before) / 1e6


def run() -> list[Figure]:
    place = tempfile.mkdtemp()
    try:
        folder = Folder(place)
        figures = [
            Figure("ledger: segments, each on disk", append_empty_segments(folder.at("empty")), "/s"),
            Figure("ledger: chunks recorded", write_a_million_cells(folder.at("full")), "/s"),
        ]
        for what in ("10⁶ chunks", "10⁶ chunks and 10⁶ heartbeats"):
            seconds, _ = load(folder.at("full"))
            figures.append(Figure(f"ledger: load {what}", seconds, "s", better="lower", target=5))
            age(folder.at("full"))
    finally:
        shutil.rmtree(place)
    return figures


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
