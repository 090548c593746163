"""Writing points as an annotation layer, against neuroglancer's own writer: one property, one relationship.

Neuroglancer's writer makes two files a point, so it is timed on fewer points and compared by points a second.
Both run in one process; making the points is in neither figure.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from neuroglancer import AnnotationPropertySpec, CoordinateSpace
from neuroglancer.read_precomputed_annotations import AnnotationReader
from neuroglancer.write_annotations import AnnotationWriter

from benchmarks.figure import Figure
from chunkflow.describe import open_plan
from chunkflow.events import CellDone, Event
from chunkflow.geometry import Box
from chunkflow.job import Job
from chunkflow.kernels.morton import id_voxels, voxel_ids
from chunkflow.opening import open_run
from chunkflow.pool import Pool
from chunkflow.queue import MemoryQueue
from chunkflow.runner import Runner
from chunkflow.serial import SerialExecutor
from chunkflow.volume import LayerInfo

VOLUME = Box.of_size((2048, 2048, 2048))
CELL = (1024, 1024, 1024)


def points(count: int, seed: int = 1) -> pa.Table:
    random = np.random.default_rng(seed)
    voxels = np.unique(random.integers(0, 2048, (count + count // 100 + 10, 3)), axis=0)
    voxels = random.permutation(voxels)[:count]
    places = voxels + 0.5
    columns = {"id": voxel_ids(voxels, VOLUME.size), **dict(zip("xyz", places.T, strict=True))}
    return pa.table(columns | {"volume_um3": random.random(count).astype(np.float32)}).sort_by("id")


def write_table(folder: Path, rows: pa.Table) -> None:
    """The table as an earlier task would leave it: one file for each cell of space."""
    folder.mkdir()
    info = LayerInfo(
        url=f"file://{folder}",
        kind="table",
        bounds=VOLUME,
        volume=VOLUME,
        voxel_size=(1000.0, 1000.0, 1000.0),
        connected=True,
        cell=CELL,
    )
    document = {"@type": "chunkflow_table", "table": info.model_dump(mode="json")}
    (folder / "info").write_text(json.dumps(document))
    i, j, k = (id_voxels(rows["id"].to_numpy(), VOLUME.size) // np.array(CELL)).T
    which = i + info.grid.shape[0] * (j + info.grid.shape[1] * k)
    for index in range(len(info.grid)):
        buffer = io.BytesIO()
        pq.write_table(rows.filter(pa.array(which == index)), buffer)
        (folder / f"{index:06d}.parquet").write_bytes(buffer.getvalue())


def annotate(base: Path, table: Path) -> dict[str, Any]:
    """The whole job: seconds, and where they went."""
    task = {"annotate": {"objects": "objects", "annotations": "cells"}}
    layers = {"objects": str(table), "cells": str(base / "cells")}
    document = {
        "job": "bench",
        "work": str(base / "work"),
        "layers": layers,
        "tasks": [task],
        "chunk": [512] * 3,
    }
    plan = open_plan(Job.from_document(document, lambda name: "tasks.annotate:Annotate", base))
    steps: dict[str, float] = {}

    def listen(event: Event) -> None:
        if isinstance(event, CellDone):
            name = plan.steps[plan.stages[event.answer.stage].step].name
            steps[name] = steps.get(name, 0.0) + sum(event.answer.seconds)

    begin = time.perf_counter()
    queue = MemoryQueue()
    with open_run(plan, {}) as ledger:
        status = Runner(plan, ledger, queue, Pool(queue, SerialExecutor(plan), 1), 1, [listen]).run()
    assert status == "complete"
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "steps": {name: round(spent, 2) for name, spent in steps.items()}}


def peer(folder: Path, rows: pa.Table) -> float:
    """Seconds of neuroglancer's `write` alone."""
    space = CoordinateSpace(names=["x", "y", "z"], units="um", scales=[1, 1, 1])
    writer = AnnotationWriter(
        coordinate_space=space,
        annotation_type="point",
        relationships=["segment"],
        properties=[AnnotationPropertySpec(id="volume_um3", type="float32")],
    )
    columns = (rows[name].to_pylist() for name in ("id", "x", "y", "z", "volume_um3"))
    for number, x, y, z, volume in zip(*columns, strict=True):
        writer.add_point((x, y, z), id=number, volume_um3=volume, segment=[number])
    begin = time.perf_counter()
    writer.write(folder)
    return time.perf_counter() - begin


def run(count: int = 1_000_000, peer_count: int = 50_000) -> list[Figure]:
    """Points a second of both."""
    base = Path(tempfile.mkdtemp(prefix="bench-annotate-"))
    try:
        rows = points(count)
        write_table(base / "table", rows)
        peer_seconds = peer(base / "peer", rows.slice(0, peer_count))
        own = annotate(base, base / "table")
        reader = AnnotationReader(f"file://{base / 'cells'}")
        for row in rows.slice(0, 50).to_pylist():
            assert reader.by_id[row["id"]].point.tolist() == [row["x"], row["y"], row["z"]]
    finally:
        shutil.rmtree(base)
    return [
        Figure(
            "annotate: 10⁶ points, one process",
            count / own["seconds"],
            "points/s",
            peer_count / peer_seconds,
            "neuroglancer",
        )
    ]


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
