"""Files of a table's rows: CSV, Parquet, JSON and HDF5, written a batch at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chunkflow.errors import BadInput
from chunkflow.extras import optional_import


class RowWriter(Protocol):
    """Takes rows and puts them into a file."""

    def write(self, rows: pa.Table) -> None: ...

    def close(self) -> None: ...


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


class CsvWriter:
    """Names in the first line. Text stands in quotes and numbers with decimals have a point, so that a reader
    can tell what a column was."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        refuse_nested("CSV", schema)
        self._file = path.open("w", encoding="utf-8", newline="")
        self._file.write(",".join(quoted(name) for name in schema.names) + "\n")

    def write(self, rows: pa.Table) -> None:
        if len(rows) == 0:
            return
        columns = [csv_text(rows[name]) for name in rows.column_names]
        lines = pc.binary_join_element_wise(*columns, ",", null_handling="replace", null_replacement="")
        self._file.write("\n".join(lines.to_pylist()) + "\n")

    def close(self) -> None:
        self._file.close()


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def csv_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = pc.cast(column, pa.string())
    if pa.types.is_floating(column.type):
        whole = pc.match_substring_regex(text, r"^-?\d+$")
        return pc.if_else(whole, pc.binary_join_element_wise(text, "0", "."), text)
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return text
    escaped = pc.replace_substring(text, '"', '""')
    return pc.binary_join_element_wise('"', escaped, '"', "")


def refuse_nested(form: str, schema: pa.Schema) -> None:
    for column in schema:
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
            raise BadInput(
                f"The column {column.name} holds {column.type}, for which {form} has no word: write .parquet."
            )


def parquet_writer(path: Path, schema: pa.Schema) -> RowWriter:
    writer: RowWriter = pq.ParquetWriter(path, schema, compression="zstd")
    return writer


class JsonWriter:
    """A list of objects, one a line; what is no number is null."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        refuse_nested("JSON", schema)
        self._file = path.open("w", encoding="utf-8")
        self._before = "[\n"

    def write(self, rows: pa.Table) -> None:
        for row in rows.to_pylist():
            self._file.write(self._before + json.dumps({name: plain(value) for name, value in row.items()}))
            self._before = ",\n"

    def close(self) -> None:
        self._file.write("\n]\n" if self._before == ",\n" else "[]\n")
        self._file.close()


def plain(value: Any) -> Any:
    """JSON has no word for NaN and infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Hdf5Writer:
    """One dataset a column, in the order of the table, as pandas and MATLAB read it."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        refuse_nested("HDF5", schema)
        h5py = optional_import("h5py", "Writing HDF5 files")
        self._file = h5py.File(path, "w", track_order=True)
        for column in schema:
            dtype = h5py.string_dtype() if is_text(column.type) else column.type.to_pandas_dtype()
            self._file.create_dataset(column.name, (0,), dtype, maxshape=(None,), chunks=(16_384,))

    def write(self, rows: pa.Table) -> None:
        if len(rows) == 0:
            return
        for name in rows.column_names:
            dataset, column = self._file[name], rows[name]
            if column.null_count and dataset.dtype.kind in "iub":
                raise BadInput(
                    f"The column {name} has rows without a value, for which HDF5 has no word in whole "
                    "numbers: write .parquet or .csv instead."
                )
            dataset.resize(len(dataset) + len(rows), axis=0)
            if dataset.dtype.kind == "O":
                dataset[-len(rows) :] = [value or "" for value in column.to_pylist()]
            else:
                dataset[-len(rows) :] = column.to_numpy()

    def close(self) -> None:
        self._file.close()
