"""Tables in files that know what their columns are: Parquet, and HDF5 with one dataset a column."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chunkflow.errors import BadInput
from chunkflow.extras import optional_import
from chunkflow.formats.points.rows import BATCH, Rows, check_names
from chunkflow.formats.stacks.outside import refuse_hdf5_references


def open_parquet(path: Path) -> Rows:
    """A Parquet file."""
    try:
        schema = pq.read_schema(path).remove_metadata()
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(f"{path} is not a whole Parquet file: {error}") from None
    check_names(path, schema.names)

    def pieces() -> Iterator[pa.Table]:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(BATCH):
                yield pa.table(batch).replace_schema_metadata(None)

    return Rows(path, schema, pieces)


def open_hdf5(path: Path) -> Rows:
    """An HDF5 file whose datasets are columns, as `chunkflow export` writes them."""
    h5py = optional_import("h5py", f"Reading {path}")
    try:
        with h5py.File(path) as file:
            refuse_hdf5_references(path, file)
            columns = {name: _type_of(path, name, file[name]) for name in file}
            lengths = {name: len(file[name]) for name in file}
    except OSError as error:
        raise BadInput(f"{path} is not a whole HDF5 file: {error}") from None
    if not columns:
        raise BadInput(f"{path} has no datasets.")
    count = next(iter(lengths.values()))
    for name, length in lengths.items():
        if length != count:
            raise BadInput(
                f"{path}: the dataset {name} has {length} values, {next(iter(lengths))} has {count}; "
                "as columns of one table they must have as many."
            )
    schema = pa.schema(list(columns.items()))

    def pieces() -> Iterator[pa.Table]:
        with h5py.File(path) as file:
            for start in range(0, count, BATCH):
                yield pa.table(
                    [_values(file[column.name], start, column.type) for column in schema], schema=schema
                )

    return Rows(path, schema, pieces)


def _type_of(path: Path, name: str, dataset: Any) -> pa.DataType:
    if getattr(dataset, "ndim", None) != 1:  # groups have none
        raise BadInput(
            f"{path}: {name} is not a dataset of one dimension; each must be a column of the table, as "
            "chunkflow export writes them."
        )
    import h5py

    if h5py.check_string_dtype(dataset.dtype) is not None:
        return pa.string()
    try:
        return pa.from_numpy_dtype(dataset.dtype.newbyteorder("="))
    except pa.ArrowException:
        raise BadInput(f"{path}: the dataset {name} holds {dataset.dtype}, not numbers or text.") from None


def _values(dataset: Any, start: int, kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return pa.array(dataset.asstr()[start : start + BATCH], kind)
    values = np.asarray(dataset[start : start + BATCH])
    return pa.array(values.astype(values.dtype.newbyteorder("=")), kind)
