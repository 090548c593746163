"""Export: one file of every kind has the rows of all files of a finished table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from chunkflow.errors import BadInput, ChunkflowError, DamagedInput, Incomplete
from chunkflow.storage import Folder
from cli.export import export, write_table
from tests.support import make_job, make_layer, run_job

SCHEMA = pa.schema(
    [
        ("id", pa.uint64()),
        ("x", pa.float64()),
        ("dapi_mean", pa.float32()),
        ("kind", pa.string()),
        ("cut", pa.bool_()),
    ]
)


def rows(first: int, count: int) -> pa.Table:
    ids = np.arange(first, first + count, dtype=np.uint64) + np.uint64(2**50)
    columns = [ids, ids / 3, (ids % 7).astype(np.float32), [f"kind {i % 3}" for i in ids], ids % 2 == 0]
    return pa.table([pa.array(column) for column in columns], schema=SCHEMA)


def put(folder: Folder, index: int, piece: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(piece, buffer)
    folder.put(f"{index:06d}.parquet", buffer.getvalue())


TASK = """
import pyarrow as pa
from chunkflow.task import Image, Objects, Out, Task
from tests.cli.test_export import rows

class Listing(Task):
    image: Image
    objects: Objects = Out()
    fail: bool = False

    def map(self, cell, image):
        if self.fail and cell.index == 1:
            raise ValueError("on purpose")
        return rows(4 * cell.index, 4)

    def merge(self, rows):
        return rows
"""


def write_work(folder: Path, monkeypatch: pytest.MonkeyPatch, fail: bool = False) -> Path:
    """A job of two chunks that makes a table of eight rows."""
    (folder / "export_tasks.py").write_text(TASK)
    monkeypatch.syspath_prepend(str(folder))
    make_layer(folder / "image", np.ones((64, 32, 32), dtype=np.uint8))
    task = {"export_tasks:Listing": {"image": "image", "objects": "objects", "fail": fail}}
    layers = {"image": str(folder / "image")}
    job = make_job(folder, layers, [task], storage=[32, 32, 32], chunk=[32, 32, 32])
    assert run_job(job) == ("incomplete" if fail else "complete")
    return folder / "work"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_work(tmp_path, monkeypatch)


def read(path: Path) -> list[dict[str, object]]:
    """The rows of a file of any kind."""
    if path.suffix == ".csv":
        found = list(csv.DictReader(path.open()))
        kinds = {"id": int, "x": float, "dapi_mean": float, "kind": str, "cut": lambda text: text == "true"}
        return [{name: kinds[name](text) for name, text in row.items()} for row in found]
    if path.suffix == ".json":
        return list(json.loads(path.read_text()))
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    with h5py.File(path) as file:
        columns = {
            name: [v.decode() if isinstance(v, bytes) else v.item() for v in file[name]] for name in file
        }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def run(*arguments: str) -> None:
    app = typer.Typer()
    app.command()(export)
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, ChunkflowError):
        raise result.exception
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json", ".h5"])
def test_all_rows_are_there_in_order(work: Path, tmp_path: Path, ending: str) -> None:
    to = tmp_path / f"objects{ending}"
    run(str(work), "objects", "--to", str(to))
    found = read(to)
    assert found == rows(0, 8).to_pylist()
    assert list(found[0]) == SCHEMA.names
    assert not [file for file in tmp_path.iterdir() if file.suffix == ".tmp"]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json", ".h5"])
def test_a_table_without_rows_has_its_columns(tmp_path: Path, ending: str) -> None:
    folder = Folder(str(tmp_path / "table"))
    put(folder, 0, rows(0, 0))
    to = tmp_path / f"none{ending}"
    assert write_table(folder, to) == 0
    assert read(to) == []
    if ending == ".csv":
        assert to.read_text().strip() == ",".join(f'"{name}"' for name in SCHEMA.names)


def test_what_is_no_number_is_null_in_json(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "table"))
    put(folder, 0, pa.table({"id": pa.array([1], pa.uint64()), "x": pa.array([float("nan")])}))
    write_table(folder, tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == [{"id": 1, "x": None}]


def test_a_file_that_exists_is_not_replaced_unasked(work: Path, tmp_path: Path) -> None:
    to = tmp_path / "objects.csv"
    to.write_text("precious")
    with pytest.raises(BadInput, match="exists already"):
        run(str(work), "objects", "--to", str(to))
    assert to.read_text() == "precious"
    run(str(work), "objects", "--to", str(to), "--overwrite")
    assert len(read(to)) == 8


def test_bad_input_is_named(work: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"its tables: objects"):
        run(str(work), "cells", "--to", str(tmp_path / "x.csv"))
    with pytest.raises(BadInput, match=r"must end in .csv"):
        run(str(work), "objects", "--to", str(tmp_path / "x.xlsx"))
    with pytest.raises(BadInput, match="no job has run"):
        run(str(tmp_path / "image"), "objects", "--to", str(tmp_path / "x.csv"))
    with pytest.raises(BadInput, match="cannot be written"):
        run(str(work), "objects", "--to", str(tmp_path / "nowhere" / "x.csv"))


def test_an_unfinished_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = write_work(tmp_path, monkeypatch, fail=True)
    with pytest.raises(Incomplete, match="not finished"):
        run(str(work), "objects", "--to", str(tmp_path / "x.csv"))
    assert not (tmp_path / "x.csv").exists()


def test_files_are_taken_by_number_and_those_without_rows_passed_over(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "table"))
    for index, piece in ((0, rows(0, 0)), (999_999, rows(0, 5)), (2, rows(0, 0)), (1_000_000, rows(5, 3))):
        put(folder, index, piece)
    assert write_table(folder, tmp_path / "x.parquet", files=4) == 8
    assert read(tmp_path / "x.parquet") == rows(0, 8).to_pylist()


def test_a_file_that_is_lost_is_noticed(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "table"))
    put(folder, 0, rows(0, 2))
    with pytest.raises(DamagedInput, match="1 of the table's 2 files"):
        write_table(folder, tmp_path / "x.csv", files=2)
    assert not (tmp_path / "x.csv").exists()
