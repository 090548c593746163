"""Writing points as an annotation layer, against other writers: one property, one relationship.

Each writer runs alone in a process of its own, by the interpreter that has it; making the points, and
starting the process, are in no figure. Neuroglancer's own writer makes two files a point, so it is given
fewer and compared by points a second. ngsidekick is installed into an environment of its own, for this alone.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from neuroglancer.read_precomputed_annotations import AnnotationReader
from numpy.typing import NDArray

from benchmarks.figure import Figure
from chunkflow.data.info import TableInfo
from chunkflow.engine.planning.job import Job
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.pool.serial import SerialExecutor
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.run.opening import open_run
from chunkflow.engine.run.runner import Runner
from chunkflow.geometry import Box
from chunkflow.jobs.planned import open_plan
from chunkflow.kernels.precomputed.morton import id_voxels, voxel_ids

ROOT = Path(__file__).parents[2]
NGSIDEKICK = ("ngsidekick==0.0.20", "duckdb<2")  # with duckdb 2 it ends in an error
VOLUME = Box.of_size((2048, 2048, 2048))
CELL = (1024, 1024, 1024)


def points(count: int, seed: int = 1) -> pa.Table:
    random = np.random.default_rng(seed)
    voxels = np.unique(random.integers(0, 2048, (count + count // 100 + 10, 3), np.int32), axis=0)
    voxels = random.permutation(voxels)[:count]
    columns: dict[str, NDArray[Any]] = {"id": voxel_ids(voxels, VOLUME.size)}
    columns |= {axis: voxels[:, n] + 0.5 for n, axis in enumerate("xyz")}
    return pa.table(columns | {"volume_um3": random.random(count).astype(np.float32)}).sort_by("id")


def write_table(folder: Path, rows: pa.Table, one_file: bool = False) -> None:
    """The table as an earlier task would leave it: one file for each cell of space, or a single one."""
    folder.mkdir()
    info = TableInfo(
        url=f"file://{folder}",
        volume=VOLUME,
        voxel_size=(1000.0, 1000.0, 1000.0),
        connected=not one_file,
        cell=None if one_file else CELL,
    )
    (folder / "info").write_text(json.dumps(info.document()))
    i, j, k = (id_voxels(rows["id"].to_numpy(), VOLUME.size) // np.array(info.grid.cell)).T
    which = i + info.grid.shape[0] * (j + info.grid.shape[1] * k)
    for index in range(len(info.grid)):
        buffer = io.BytesIO()
        pq.write_table(rows.filter(pa.array(which == index)), buffer, row_group_size=1 << 17)
        (folder / f"{index:06d}.parquet").write_bytes(buffer.getvalue())


def run_annotate(folder: Path) -> None:
    """Make the layer `chunkflow` of the table `table`."""
    run_tasks(folder, [{"annotate": {"objects": "objects", "annotations": "cells"}}])


def run_tasks(folder: Path, tasks: list[dict[str, object]]) -> None:
    layers = {"objects": str(folder / "table"), "cells": str(folder / "chunkflow")}
    document = {
        "job": "bench",
        "work": str(folder / "work"),
        "chunk": [512] * 3,
        "layers": layers,
        "tasks": tasks,
    }
    plan = open_plan(Job.from_document(document, folder))
    queue = MemoryQueue(len(plan.worker_kinds))
    with open_run(plan, {}) as ledger:
        status = Runner(plan, ledger, queue, Pool(queue, SerialExecutor(plan), [1])).run()
    assert status == "complete", status


def alone(script: str, what: str, folder: Path, python: str = sys.executable) -> dict[str, float]:
    """Run a function of a script of this folder in a process of its own."""
    command = [python, str(Path(__file__).with_name(script)), what, str(folder)]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def ngsidekick_python(folder: Path = ROOT / "bench") -> str:
    """The interpreter of an environment that has ngsidekick; made in `folder` where it is not there yet."""
    environment = folder / "ngsidekick-env"
    python = environment / "bin" / "python"
    if not (environment / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *NGSIDEKICK], check=True)
        (environment / "complete").touch()
    return str(python)


def measured(writer: str, count: int, python: str = sys.executable) -> dict[str, float]:
    """Points a second, and the most memory held, of a writer that makes a layer of so many points."""
    folder = Path(tempfile.mkdtemp(prefix="bench-annotate-"))
    try:
        rows = points(count)
        if writer == "chunkflow":
            write_table(folder / "table", rows)
        else:
            pq.write_table(rows, folder / "points.parquet")
        found = alone("annotate_run.py", writer, folder, python)
        reader = AnnotationReader(f"file://{folder / writer}")
        for row in rows.slice(0, 50).to_pylist():
            assert reader.by_id[row["id"]].point.tolist() == [row["x"], row["y"], row["z"]]
    finally:
        shutil.rmtree(folder)
    return {"rate": count / found["seconds"], "peak": found["peak"]}


def run(count: int = 1_000_000, peer_count: int = 100_000) -> list[Figure]:
    """Points a second, and memory, of all writers."""
    measured("chunkflow", 1000)  # compiles
    own = measured("chunkflow", count)
    peers = {
        f"neuroglancer, {peer_count:,} points": measured("neuroglancer", peer_count),
        "ngsidekick": measured("ngsidekick", count, ngsidekick_python()),
    }
    figures = []
    for name, found in peers.items():
        target = 5.0 if name.startswith("neuroglancer") else None
        what = f"annotate: {count:,} points, one process"
        figures.append(Figure(what, own["rate"], "points/s", found["rate"], name, target=target))
        memory = own["peak"] / 2**20, found["peak"] / 2**20
        figures.append(Figure(f"{what}, most memory", memory[0], "MiB", memory[1], name, better="lower"))
    return figures


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
