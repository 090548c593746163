"""Reviewed rows as layers: a table that jobs read, or annotations that Neuroglancer shows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from chunkflow.data.folder import Folder
from chunkflow.data.info import TableInfo, full_url
from chunkflow.data.table_writer import write_table
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.formats.export.rows import RowSource
from chunkflow.jobs.means import Means
from chunkflow.jobs.run import Run

TABLE, ANNOTATIONS = "table", "annotations"
LAYERS = (TABLE, ANNOTATIONS)
PROPERTIES = ("class", "status")


def refuse_taken_layer(url: str, overwrite: bool) -> None:
    """Raise BadInput where a layer cannot be made at a URL."""
    if overwrite:
        raise BadInput(f"A layer is never replaced: delete {url} first, or name another place.")
    folder = Folder(url)
    if folder.exists("info") or next(iter(folder.list()), None) is not None:
        raise BadInput(f"{url} exists already and was not touched: name another place.")


def write_layer(source: RowSource, to: str, form: str) -> int:
    """Make a layer of all rows; how many they are."""
    count = 0

    def counted_pieces() -> Iterator[pa.Table]:
        nonlocal count
        for piece in source.pieces:
            count += len(piece)
            yield piece

    if form == TABLE:
        write_table(_table_like(source, full_url(to)), counted_pieces())
        return count
    with tempfile.TemporaryDirectory() as folder:
        table = _table_like(source, f"file://{folder}/reviewed")
        write_table(table, counted_pieces())
        _annotate(table.url, full_url(to), Path(folder) / "work")
    return count


def _table_like(source: RowSource, url: str) -> TableInfo:
    """A table in the space of that which was reviewed, with ids of the same labels."""
    info = source.info
    return TableInfo(
        url=url, volume=info.volume, bounds=info.bounds, voxel_size=info.voxel_size, labels=info.labels_url
    )


def _annotate(table: str, annotations: str, work: Path) -> None:
    """Make the annotation layer of a table, as the task `annotate` does."""
    task = {"objects": "reviewed", "annotations": "shown", "properties": [*PROPERTIES]}
    document = {
        "job": "reviewed",
        "work": str(work),
        "layers": {"reviewed": table, "shown": annotations},
        "tasks": [{"annotate": task}],
    }
    run = Run.of(Job.from_document(document, Path.cwd()), Means(serial=True))
    run.start()
    run.wait()
