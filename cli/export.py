"""Export a table of a job to one file, a batch of rows at a time."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Protocol

import h5py
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import typer
from rich.console import Console

from chunkflow.errors import BadInput, DamagedInput, Incomplete
from chunkflow.storage import Folder
from cli.work import Work

BATCH = 65_536
FILE = re.compile(r"\d+\.parquet$")


def export(
    work: Annotated[str, typer.Argument(metavar="WORK", help="The work folder of the job.")],
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The table's name in the job.")],
    to: Annotated[Path, typer.Option(metavar="FILE", help="The file: .csv, .parquet, .json or .h5.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE where it exists.")] = False,
) -> None:
    """Write a table of a job to one file, whose ending says how: csv, parquet, json or h5.

    Rows come in the order of their ids' ranges. A table that its job has not finished is refused.

    Example: chunkflow export work/demo objects --to objects.csv
    """
    if to.suffix.lower() not in WRITERS:
        raise BadInput(f"{to} must end in {', '.join(WRITERS)}: the ending says what is written.")
    if to.exists() and not overwrite:
        raise BadInput(f"{to} exists already: name another file, or say --overwrite.")
    url, files = find_table(Work.open(work), table)
    rows = write_table(Folder(url), to, files)
    Console(soft_wrap=True).print(f"{rows} rows of {table} are in {to}.", highlight=False)


def find_table(work: Work, table: str) -> tuple[str, int | None]:
    """Where a table is, and how many files it has where the job made it; it must be finished."""
    plan, steps = work.plan(), work.ledger.steps
    product = plan.products.get((table, 0))
    if product is None or product.info.kind != "table":
        named = sorted(p.name for p in plan.products.values() if p.info.kind == "table" and "." not in p.name)
        raise BadInput(
            f"The job in {work.url} has no table {table}; its tables: {', '.join(named) or 'none'}."
        )
    if product.maker is None:
        return product.info.url, None
    stages = [stage for stage in plan.stages if stage.step == product.maker]
    if not all(stage.name in steps and steps[stage.name].is_complete for stage in stages):
        raise Incomplete(f"The table {table} is not finished: run the job to its end first.")
    return product.info.url, len(stages[-1].grid)


def write_table(folder: Folder, to: Path, files: int | None = None) -> int:
    """Write all files of a table to one, which is there whole or not at all; how many rows it has."""
    pieces = table_pieces(folder, files)
    first = next(pieces)
    temporary = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    count = 0
    try:
        writer = WRITERS[to.suffix.lower()](temporary, first.schema)
        try:
            writer.write(first)
            count += len(first)
            for piece in pieces:
                writer.write(piece)
                count += len(piece)
        finally:
            writer.close()
        os.replace(temporary, to)
    except OSError as error:
        raise BadInput(f"{to} cannot be written: {error.strerror or error}.") from None
    finally:
        temporary.unlink(missing_ok=True)
    return count


def table_pieces(folder: Folder, files: int | None = None) -> Iterator[pa.Table]:
    """The rows of a table in the order of its files; a first piece without rows tells the columns.

    `files` is how many there must be, where that is known.
    """
    names = sorted((name for name in folder.list() if FILE.fullmatch(name)), key=lambda n: (len(n), n))
    if not names or (files is not None and len(names) < files):
        raise DamagedInput(f"{folder.url} holds {len(names)} of the table's {files or 'at least one'} files.")
    schema = empty = None
    for name in names:
        file = pq.ParquetFile(pa.BufferReader(folder.get(name) or b""))
        columns = file.schema_arrow.remove_metadata()
        if file.metadata.num_rows == 0:
            empty = columns
            continue
        if schema is None:
            schema = columns
            yield schema.empty_table()
        for batch in file.iter_batches(BATCH):
            yield fit(pa.table(batch), schema, f"{folder.url}/{name}")
    if schema is None and empty is not None:
        yield empty.empty_table()


def fit(piece: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """The piece with the table's columns in their order."""
    if set(piece.column_names) != set(schema.names):
        raise DamagedInput(f"{name} has other columns than the files before it.")
    return piece.select(schema.names).cast(schema)


class Writer(Protocol):
    """Takes rows and puts them into a file."""

    def write(self, rows: pa.Table) -> None: ...

    def close(self) -> None: ...


def csv_writer(path: Path, schema: pa.Schema) -> Writer:
    writer: Writer = pyarrow.csv.CSVWriter(path, schema)
    return writer


def parquet_writer(path: Path, schema: pa.Schema) -> Writer:
    writer: Writer = pq.ParquetWriter(path, schema, compression="zstd")
    return writer


class JsonWriter:
    """A list of objects, one a line; what is no number is null."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
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
        self._file = h5py.File(path, "w", track_order=True)
        for column in schema:
            text = pa.types.is_string(column.type) or pa.types.is_dictionary(column.type)
            dtype = h5py.string_dtype() if text else column.type.to_pandas_dtype()
            self._file.create_dataset(column.name, (0,), dtype, maxshape=(None,), chunks=(16_384,))

    def write(self, rows: pa.Table) -> None:
        if len(rows) == 0:
            return
        for name in rows.column_names:
            dataset, column = self._file[name], rows[name]
            dataset.resize(len(dataset) + len(rows), axis=0)
            if dataset.dtype.kind == "O":
                dataset[-len(rows) :] = [value or "" for value in column.to_pylist()]
            else:
                dataset[-len(rows) :] = column.to_numpy()

    def close(self) -> None:
        self._file.close()


WRITERS = {".csv": csv_writer, ".parquet": parquet_writer, ".json": JsonWriter, ".h5": Hdf5Writer}
