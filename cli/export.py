"""Export a table, or a layer, to one file, a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import typer
from rich.console import Console

from chunkflow.data.describe import read_info, table_at
from chunkflow.data.info import TABLE_TYPE, LayerInfo, TableInfo, full_url
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.inputs import table_pieces
from chunkflow.storage import Folder
from chunkflow.words import counted
from cli.export_points import CellfinderWriter, NapariWriter, NeuroglancerWriter
from cli.export_writers import CsvWriter, Hdf5Writer, JsonWriter, Writer, parquet_writer
from cli.work import Work

VOLUME = "neuroglancer_multiscale_volume"
Open = Callable[[Path, pa.Schema, LayerInfo], Writer]
FORMATS: dict[str, tuple[str, Open]] = {
    "csv": (".csv", lambda path, schema, _: CsvWriter(path, schema)),
    "parquet": (".parquet", lambda path, schema, _: parquet_writer(path, schema)),
    "json": (".json", lambda path, schema, _: JsonWriter(path, schema)),
    "h5": (".h5", lambda path, schema, _: Hdf5Writer(path, schema)),
    "napari": (".csv", NapariWriter),
    "cellfinder": (".xml", CellfinderWriter),
    "neuroglancer": (".json", NeuroglancerWriter),
}
"""The ending of each format's files, the first format of an ending being meant by it alone."""


@dataclass(frozen=True)
class Source:
    """Rows to be exported, and the space that they lie in."""

    name: str
    info: LayerInfo
    pieces: Iterator[pa.Table]
    """The first without rows: it tells the columns."""


def export(
    what: Annotated[
        str, typer.Argument(metavar="WORK|LAYER", help="The work folder of a job, or a layer by itself.")
    ],
    table: Annotated[str, typer.Argument(metavar="[NAME]", help="Of a job: the table or the layer.")] = "",
    *,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The file; its ending says how it is written.")],
    form: Annotated[
        str, typer.Option("--as", metavar="FORMAT", help=f"Write rows as {', '.join(FORMATS)}.")
    ] = "",
    where: Annotated[
        str, typer.Option(metavar="COLUMN=VALUE", help="Only rows that have this value, as in class=neuron.")
    ] = "",
    columns: Annotated[
        str, typer.Option(metavar="NAMES", help="Only these columns, as in id,x,y,z,class.")
    ] = "",
    box: Annotated[str, typer.Option(help="Of an image or labels: the part, as in 0-256,0-256,0-64.")] = "",
    mip: Annotated[int, typer.Option(min=0, help="Of an image or labels: the mip.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE where it exists.")] = False,
) -> None:
    """Write a table or a layer to one file.

    Either is named by its place, or by its name in a job, whose tables must be finished. Rows of tables and
    of annotation layers go to .csv, .parquet, .json or .h5, in the order of their ids' ranges; or, by --as,
    to the points of napari (.csv), cellfinder (.xml) or Neuroglancer (.json). Images and labels go to TIFF
    and other files of microscopy programs.

    Example: chunkflow export work/demo objects --to objects.csv
    """
    console = Console(soft_wrap=True)
    place = place_of(what, table)
    document = read_info(place) if place else {}
    if place and document.get("@type", VOLUME) == VOLUME:
        if form or where or columns:
            raise BadInput(f"{place} is an image or labels: --as, --where and --columns are for tables.")
        from cli.export_layer import export_layer

        console.print(export_layer(place, to, box, mip, overwrite), highlight=False)
        return
    if box or mip:
        raise BadInput("--box and --mip are for images and labels; of a table, --where chooses rows.")
    opener = _format(to, form)
    if to.exists() and not overwrite:
        raise BadInput(f"{to} exists already: name another file, or say --overwrite.")
    source = _layer_source(place, document) if place else job_source(Work.open(what), table)
    rows = write_rows(chosen(source, where, columns), to, opener)
    console.print(f"{to} has {counted(rows, 'row')} of {source.name}.", highlight=False)


def place_of(what: str, name: str) -> str:
    """Where a layer is that is named by its place, or by its name in a job; empty for tables of a job."""
    if not name:
        return full_url(what) if Folder(full_url(what)).exists("info") else ""
    product = Work.open(what).plan().products.get((name, 0))
    return "" if product is None or isinstance(product.info, TableInfo) else product.info.url


def _format(to: Path, form: str) -> Open:
    endings = [ending for ending, _ in FORMATS.values()]
    named = form or next((name for name, (ending, _) in FORMATS.items() if ending == to.suffix.lower()), "")
    if form and form not in FORMATS:
        raise BadInput(f"--as {form}: it must be one of {', '.join(FORMATS)}.")
    if not named:
        raise BadInput(
            f"{to} must end in {', '.join(dict.fromkeys(endings))}: the ending says what is written."
        )
    ending, opener = FORMATS[named]
    if to.suffix.lower() != ending:
        raise BadInput(f"{to} must end in {ending}, as files of {named} do.")
    return opener


def job_source(work: Work, table: str) -> Source:
    """A table of a job, which must be finished."""
    info = work.table(table)
    return Source(table, info, table_rows(info))


def _layer_source(url: str, document: dict[str, object]) -> Source:
    """The rows of a layer that is named by its place."""
    name, kind = url.rpartition("/")[2], document["@type"]
    if kind == TABLE_TYPE:
        table = table_at(url)
        return Source(name, table, table_rows(table))
    if kind == "neuroglancer_annotations_v1":
        from cli.export_annotations import annotation_rows, space_of

        info = space_of(url, document)
        return Source(name, info, annotation_rows(url, document, info))
    raise BadInput(f"{url} is {kind}: tables, annotations, images and labels can be exported.")


def table_rows(info: TableInfo) -> Iterator[pa.Table]:
    """The rows of a table in the order of its files; a first piece without rows tells the columns."""
    schema = empty = None
    for piece in table_pieces(info, info.bounds):
        if not len(piece):
            empty = piece
            continue
        if schema is None:
            schema = piece.schema
            yield schema.empty_table()
        if set(piece.column_names) != set(schema.names):
            raise DamagedInput(f"{info.url}: a file has other columns than those before it.")
        yield piece.select(schema.names).cast(schema)
    if schema is None and empty is not None:
        yield empty


def chosen(source: Source, where: str, columns: str) -> Source:
    """The source with the rows and the columns alone that are asked for."""
    first = next(source.pieces)
    column, equals, value = where.partition("=")
    names = [name.strip() for name in columns.split(",")] if columns else first.column_names
    known = ", ".join(first.column_names)
    if where and (not equals or column not in first.column_names):
        raise BadInput(f"--where takes COLUMN=VALUE with one of {known}, not {where!r}.")
    unknown = [name for name in names if name not in first.column_names]
    if unknown:
        raise BadInput(f"{source.name} has no column {unknown[0]!r}; it has {known}.")

    def pieces() -> Iterator[pa.Table]:
        for piece in chain([first], source.pieces):
            rows = piece.filter(pc.equal(pc.cast(piece[column], pa.string()), value)) if where else piece
            yield rows.select(names)

    return Source(source.name, source.info, pieces())


def write_rows(source: Source, to: Path, opener: Open) -> int:
    """Write all rows to one file, which is there whole or not at all; how many they are."""
    first = next(source.pieces)
    temporary = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    count = 0
    try:
        writer = opener(temporary, first.schema, source.info)
        try:
            for piece in chain([first], source.pieces):
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
