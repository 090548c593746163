"""Tables to export, the export command, and the rows of exported files of any kind."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from typer.testing import CliRunner

from chunkflow.data.folder import Folder
from chunkflow.data.info import TableInfo
from chunkflow.data.tables import table_rows
from chunkflow.errors import ChunkflowError
from chunkflow.formats.export.rows import FORMATS, RowSource, write_rows
from chunkflow.geometry import Box
from cli.data.export import export

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


def table_layer(path: Path, pieces: list[pa.Table], volume: Box | None = None) -> TableInfo:
    """A table layer whose files hold these pieces, one cell each along x."""
    volume = volume or Box.of_size((10 * len(pieces), 10, 10))
    info = TableInfo(
        url=f"file://{path}",
        volume=volume,
        voxel_size=(1620.0, 1000.0, 6000.0),
        cell=(10, 10, 10) if len(pieces) > 1 else None,
    )
    folder = Folder(info.url)
    for index, piece in enumerate(pieces):
        put(folder, index, piece)
    folder.put("info", json.dumps(info.document()).encode())
    return info


def written(info: TableInfo, to: Path, form: str = "") -> int:
    opener = FORMATS[form or {".h5": "h5"}.get(to.suffix, to.suffix[1:])][1]
    return write_rows(RowSource("t", info, table_rows(info)), to, opener)


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


PLACED = pa.table(
    {
        "id": pa.array([5, 2**63 + 1, 9], pa.uint64()),
        "x": [1.25, 2.5, 19.75],
        "y": [3.5, 0.5, 9.5],
        "z": [7.0, 0.25, 9.75],
        "class": ["cell", "no cell", "cell"],
        "score": pa.array([0.5, 0.25, 1.0], pa.float32()),
        "cut": [True, False, True],
    }
)
