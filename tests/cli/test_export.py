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
from chunkflow.ledger import Ledger
from chunkflow.storage import Folder
from cli.export import export, write_table

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


def write_work(work: Path, finished: int) -> Path:
    """A table of four files, two of them empty; the name of the last comes before others by its text."""
    table = Folder(str(work / "tables" / "objects"))
    for index, piece in ((0, rows(0, 0)), (1, rows(0, 5)), (2, rows(0, 0)), (1_000_000, rows(5, 3))):
        put(table, index, piece)
    with Ledger.open(Folder(str(work))) as ledger:
        recorded = {"spec": {}, "job": {"layers": {}}, "chunk": [1]}
        ledger.record_job(recorded, {}, {"measure": 1, "measure.finish": 4})
        ledger.record_created(table.url, "measure")
        ledger.record_done("measure", 0)
        for index in range(finished):
            ledger.record_done("measure.finish", index)
    return work


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return write_work(tmp_path / "work", finished=4)


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
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted([to.name, "work"])


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
    with pytest.raises(BadInput, match="no ledger"):
        run(str(tmp_path), "objects", "--to", str(tmp_path / "x.csv"))
    with pytest.raises(BadInput, match="cannot be written"):
        run(str(work), "objects", "--to", str(tmp_path / "nowhere" / "x.csv"))


def test_an_unfinished_table_is_refused(tmp_path: Path) -> None:
    work = write_work(tmp_path / "work", finished=3)
    with pytest.raises(Incomplete, match="not finished"):
        run(str(work), "objects", "--to", str(tmp_path / "x.csv"))
    assert not (tmp_path / "x.csv").exists()


def test_a_file_that_is_lost_is_noticed(work: Path, tmp_path: Path) -> None:
    (work / "tables" / "objects" / "000002.parquet").unlink()
    with pytest.raises(DamagedInput, match="3 of the table's 4 files"):
        run(str(work), "objects", "--to", str(tmp_path / "x.csv"))
    assert not (tmp_path / "x.csv").exists()
