"""Imported rows are filed by place, given to objects, and never held whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import chunkflow.data.table_writer
from chunkflow.data.describe import describe
from chunkflow.data.info import TableInfo
from chunkflow.data.table_writer import write_table
from chunkflow.data.tables import read_table as read_cells
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from tests.support.files.imports import SIZE, VOXEL_SIZE, export, placed, run
from tests.support.jobs import make_job, make_layer, read_table, run_job


def test_ids_that_name_voxels_file_rows_in_cells(
    tmp_path: Path, like: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunkflow.data.table_writer, "MOST_IN_CELL", 20)
    rows = placed(400).take(np.random.default_rng(1).permutation(400))
    export(rows, tmp_path / "t.parquet", "parquet")
    run(str(tmp_path / "t.parquet"), str(tmp_path / "back"), "--like", like)
    info = describe(f"file://{tmp_path / 'back'}", 0, "table")
    assert (info.cell, info.connected, len(info.grid)) == ((64, 64, 64), True, 2)
    seen = []
    for index in range(len(info.grid)):
        part = read_cells(info, info.grid.box(index))
        assert part["id"].to_pylist() == sorted(part["id"].to_pylist())
        voxels = np.floor(np.stack([part[axis].to_numpy() for axis in "xyz"], 1))
        box = info.grid.box(index)
        assert ((voxels >= box.start) & (voxels < box.stop)).all()
        seen.append(part)
    assert pa.concat_tables(seen).sort_by("id").equals(rows.sort_by("id"))
    last = rows.sort_by("id").slice(399)
    export(pa.concat_tables([rows, last]), tmp_path / "twice.parquet", "parquet")
    with pytest.raises(BadInput, match="more than once"):
        run(str(tmp_path / "twice.parquet"), str(tmp_path / "twice"), "--like", like)
    assert not list((tmp_path / "twice").iterdir())  # though the first cell's file was there


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_any_other_ids_are_filed_in_one(
    tmp_path: Path, like: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunkflow.data.table_writer, "RANGE", 64)
    monkeypatch.setattr(chunkflow.data.table_writer, "KEPT", 16)
    info = TableInfo(url=f"file://{tmp_path / 'back'}", volume=Box.of_size(SIZE), voxel_size=VOXEL_SIZE)
    random = np.random.default_rng(3)
    ids = np.unique(random.integers(1, 2**64 - 1, count, dtype=np.uint64))
    rows = pa.table({"id": random.permutation(ids), "n": np.arange(len(ids))})
    made = write_table(
        info, iter([rows.schema.empty_table(), *(rows.slice(i, 300) for i in range(0, count, 300))])
    )
    assert made.cell is None
    assert read_table(tmp_path / "back").equals(rows.sort_by("id"))
    assert read_cells(made, made.bounds)["id"].to_pylist() == sorted(ids.tolist())


HELD = """
import sys, tracemalloc
import numpy as np, pyarrow as pa
import chunkflow.data.table_writer as layer
from chunkflow.geometry import Box
from chunkflow.data.info import TableInfo

def rows(pieces):
    for number in range(pieces):
        random = np.random.default_rng(number)
        ids = random.permutation(2000).astype(np.uint64) * np.uint64(1000) + np.uint64(number + 1)
        yield pa.table({"id": ids, "a": random.random(2000), "b": random.random(2000)})

layer.RANGE, layer.KEPT, box = 2**13, 256, Box.of_size((4096, 4096, 4096))
info = TableInfo(volume=box, voxel_size=(1, 1, 1))
tracemalloc.start()
for pieces in (20, 160):
    layer.write_table(info.model_copy(update={"url": f"{sys.argv[1]}/{pieces}"}), rows(pieces))
    print(tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory())
"""


def test_no_more_is_held_for_more_rows(tmp_path: Path) -> None:
    """The most bytes that Arrow and Python held at once, for a table and for one eight times as long."""
    words = [sys.executable, "-c", HELD, f"file://{tmp_path}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    held = [int(line) for line in done.stdout.split()]
    assert held[0] > 300_000
    assert held[1] < 1.6 * held[0]
    assert len(read_table(tmp_path / "160")) == 160 * 2000


def test_points_become_a_table_that_jobs_read(tmp_path: Path, like: str) -> None:
    rows = placed(30)
    places = np.stack([rows[axis].to_numpy() for axis in "xyz"], 1)
    np.savetxt(tmp_path / "points.csv", places[:, ::-1] * (np.array(VOXEL_SIZE[::-1]) / 1e3), delimiter=",")
    words = ["--like", like, "--columns", "z,y,x", "--unit", "um"]
    said = run(str(tmp_path / "points.csv"), str(tmp_path / "points"), *words)
    assert "points has 30 rows." in said
    back = read_table(tmp_path / "points")
    assert back.column_names == ["id", "x", "y", "z", "x_um", "y_um", "z_um"]
    for name in back.column_names:
        np.testing.assert_allclose(back[name].to_numpy(), rows[name].to_numpy(), rtol=1e-12, err_msg=name)
    layers = {"points": str(tmp_path / "points"), "shown": str(tmp_path / "shown")}
    task = {"annotate": {"objects": "points", "annotations": "shown"}}
    assert run_job(make_job(tmp_path, layers, [task], chunk=[64, 64, 64])) == "complete"
    assert json.loads((tmp_path / "shown" / "info").read_text())["annotation_type"].upper() == "POINT"


TASK = """
import numpy as np
import pyarrow as pa
from chunkflow.shapes import MergedRows
from chunkflow.task import Labels, Objects, Out, Task

class Balls(Task):
    labels: Labels
    objects: Objects = Out()
    shape = MergedRows()

    def map(self, cell, labels):
        ids = [3, 7]
        places = {a: [16.0, 48.0] for a in "xyz"}
        um = {f"{a}_um": np.array(p) for a, p in places.items()}
        return pa.table({"id": pa.array(ids, pa.uint64()), **places, **um, "diameter_um": [10.0, 10.0]})

    def merge(self, rows):
        return rows.slice(0, 1)
"""


def test_points_are_given_to_the_objects_that_they_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((64, 64, 64), np.uint64)
    labels[14:18, 14:18, 14:18] = 3
    labels[44:52, 44:52, 44:52] = 7
    make_layer(tmp_path / "labels", labels, "segmentation", (1000, 1000, 1000))
    (tmp_path / "import_tasks.py").write_text(TASK)
    monkeypatch.syspath_prepend(str(tmp_path))
    task = {"import_tasks:Balls": {"labels": "labels"}}
    assert (
        run_job(make_job(tmp_path, {"labels": str(tmp_path / "labels")}, [task], chunk=[64] * 3))
        == "complete"
    )
    words = ["--like", str(tmp_path / "labels"), "--objects", f"{tmp_path / 'work'}:objects"]
    points = tmp_path / "p.csv"
    points.write_text("x,y,z,class\n15.5,15.5,15.5,neuron\n51,51,51,glia\n47,47,47,glia\n30,30,30,glia\n")
    said = run(str(points), str(tmp_path / "marked"), *words)
    assert "Points on no object: 1 of 4 (numbers 4); objects with several points: 1 (ids 7)." in " ".join(
        said.split()
    )
    back = read_table(tmp_path / "marked")
    assert (back["id"].to_pylist(), back["class"].to_pylist()) == ([3, 7], ["neuron", "glia"])
    assert describe(f"file://{tmp_path / 'marked'}", 0, "table").labels == f"file://{tmp_path / 'labels'}"
    points.write_text("x,y,z,class\n51,51,51,glia\n47,47,47,neuron\n")
    with pytest.raises(BadInput, match=r"Objects with points of several classes: 1 \(7 among them\)"):
        run(str(points), str(tmp_path / "again"), *words)
    with pytest.raises(BadInput, match="--objects takes WORK:TABLE"):
        run(str(points), str(tmp_path / "again"), "--like", str(tmp_path / "labels"), "--objects", "objects")
