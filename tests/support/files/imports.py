"""Rows to import in every format, and the import command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import typer
from typer.testing import CliRunner

from chunkflow.data.info import TableInfo
from chunkflow.errors import ChunkflowError
from chunkflow.formats.export.rows import FORMATS, RowSource, write_rows
from chunkflow.geometry import Box
from chunkflow.kernels.precomputed.morton import voxel_ids
from cli.data.import_table import import_table

VOXEL_SIZE = (1620.0, 1620.0, 6000.0)
OFFSET = (10, -20, 30)
SIZE = (96, 64, 48)
ENDINGS = {
    "csv": ".csv",
    "parquet": ".parquet",
    "json": ".json",
    "h5": ".h5",
    "napari": ".csv",
    "neuroglancer": ".json",
    "cellfinder": ".xml",
}


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(import_table)
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, ChunkflowError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def placed(count: int, seed: int = 0) -> pa.Table:
    """Objects as measure names and places them, with columns of all types."""
    random = np.random.default_rng(seed)
    voxels = np.stack(np.unravel_index(random.choice(np.prod(SIZE), count, replace=False), SIZE), 1)
    places = voxels + np.array(OFFSET) + random.uniform(0, 1, voxels.shape)
    columns: dict[str, Any] = {"id": voxel_ids(voxels, SIZE)}
    columns |= {axis: places[:, i] for i, axis in enumerate("xyz")}
    columns |= {f"{axis}_um": places[:, i] * (VOXEL_SIZE[i] / 1e3) for i, axis in enumerate("xyz")}
    columns["count"] = random.integers(-5, 5, count)
    columns["large"] = pa.array([2**64 - 1 - int(n) for n in random.integers(0, 99, count)], pa.uint64())
    columns["whole"] = random.integers(0, 3, count).astype(float)
    columns["class"] = pa.array([["neuron", "007", 'a "b",\nc', "", None][n % 5] for n in range(count)])
    columns["part"] = pa.array([[0.5, None, 0.25][n % 3] for n in range(count)])
    columns["cut"] = random.random(count) < 0.5
    return pa.table(columns).sort_by("id")


def replaced(rows: pa.Table, name: str, values: list[Any]) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, pa.array(values))


def export(rows: pa.Table, to: Path, form: str) -> None:
    box = Box.of_size(SIZE, OFFSET)
    info = TableInfo(url="file:///objects", volume=box, voxel_size=VOXEL_SIZE)
    pieces = iter([rows.schema.empty_table(), rows.slice(0, 7), rows.slice(7)])
    write_rows(RowSource("objects", info, pieces), to, FORMATS[form][1])
