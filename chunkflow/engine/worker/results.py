"""Writing of a cell's results: voxels, rows, files and tables, each whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chunkflow.chunk import Chunk
from chunkflow.data.checksums import digest_of
from chunkflow.data.info import FolderInfo, ImageInfo, LabelsInfo, SpaceInfo
from chunkflow.data.owned import OwnedPlaces
from chunkflow.data.tables import table_file, table_writer
from chunkflow.data.volume import files_of
from chunkflow.engine.planning.plan import Product, Step
from chunkflow.engine.worker.inputs import Inputs
from chunkflow.engine.worker.usage import Usage
from chunkflow.errors import ChunkflowError
from chunkflow.geometry import Box
from chunkflow.task import Counts, Files, Made, Result


class WrongResult(ChunkflowError):
    """A task returned what it did not declare."""


@dataclass
class CellResults:
    """Results of one call, by their kind and the output that they are for."""

    chunks: dict[str, Chunk] = field(default_factory=dict)
    rows: pa.Table | None = None
    files: dict[str, Files] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    final: pa.Table | None = None
    """Of rows that were reduced, those that go no further up."""


def sort_out(step: Step, result: Result) -> CellResults:
    """Find the output that each thing returned is for, by its name or else by what it is."""
    found = CellResults()
    for name, made in _named(step, result):
        if isinstance(made, pa.Table):
            found.rows = made
        elif isinstance(made, Counts):
            found.counts |= made.of
        elif isinstance(made, Chunk):
            found.chunks[name or _only(step, "chunk", (ImageInfo, LabelsInfo))] = made
        elif isinstance(made, dict):
            found.files[name or _only(step, "dict of files", (FolderInfo,))] = made
        else:
            raise WrongResult(
                f"Task {step.name} returned a {type(made).__name__}; "
                "it must be a Chunk, a table, files or Counts."
            )
    return found


def _named(step: Step, result: Result) -> Iterator[tuple[str, Made]]:
    if result is None:
        return
    if isinstance(result, tuple):
        yield from (("", made) for made in result)
    elif isinstance(result, dict) and result and set(result) <= set(step.outputs):
        yield from result.items()  # type: ignore[misc]
    else:
        yield "", result  # type: ignore[misc]


def _only(step: Step, what: str, kinds: tuple[type[SpaceInfo], ...]) -> str:
    names = [name for name, product in step.outputs.items() if isinstance(product.info, kinds)]
    if len(names) != 1:
        raise WrongResult(
            f"Task {step.name} returned a {what}, but has {len(names)} outputs that it may be for."
        )
    return names[0]


class Results:
    """Writes for the steps of one plan, unless told not to."""

    def __init__(self, inputs: Inputs, places: OwnedPlaces, writes: bool = True) -> None:
        self._inputs, self._places, self._writes = inputs, places, writes

    def ready_chunk(self, step: Step, name: str, chunk: Chunk | None, box: Box) -> Chunk:
        """The voxels to write: cropped to the cell, masked, of the layer's type; zeros where None."""
        info = step.outputs[name].voxels
        if chunk is None:
            return Chunk.zeros(box, info.voxel_size, info.dtype, info.channels)
        if not chunk.box.contains(box):
            raise WrongResult(f"Task {step.name} returned {chunk.box} for {name}, which does not hold {box}.")
        if not np.can_cast(chunk.array.dtype, info.dtype, "same_kind" if info.dtype == "float32" else "safe"):
            raise WrongResult(
                f"Task {step.name} returned {chunk.array.dtype} for {name}, which is {info.dtype}."
            )
        channels = chunk.array.shape[3] if chunk.array.ndim == 4 else 1
        if channels != info.channels:
            raise WrongResult(
                f"Task {step.name} returned {channels} channels for {name}, which has {info.channels}."
            )
        chunk = self._inputs.apply_mask(step, chunk.crop(box))
        return chunk.like(np.asfortranarray(chunk.array, dtype=info.dtype))

    def write_chunk(self, product: Product, chunk: Chunk, usage: Usage) -> None:
        """Write the voxels of a layer."""
        info = product.voxels
        usage.bytes_out += chunk.array.nbytes
        if self._writes:
            files = _digested(files_of(info, chunk), usage)
            self._places.at(info.url).put_all(files, "gzip" if info.gzipped else "")

    def write_files(self, product: Product, files: Files, usage: Usage) -> None:
        """Write files into a folder that the step makes."""
        usage.bytes_out += sum(map(len, files.values()))
        if self._writes:
            self._places.at(product.info.url).put_all(_digested(files.items(), usage))

    def write_table(self, product: Product, index: int, data: IO[bytes], usage: Usage) -> None:
        """Write one file of a table."""
        usage.bytes_out += os.fstat(data.fileno()).st_size
        if self._writes:
            name = table_file(index)
            usage.wrote(digest_of(name, data))
            data.seek(0)
            self._places.at(product.info.url).put(name, data)


def _digested(files: Iterable[tuple[str, bytes]], usage: Usage) -> Iterator[tuple[str, bytes]]:
    """The same files, whose digests are added up as they are written."""
    for name, data in files:
        usage.wrote(digest_of(name, data))
        yield name, data


class TableFile:
    """One file of a table in the making, from pieces in the order of their key. It may hold all objects of a
    job, so it grows on the worker's disk."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - __exit__ closes it
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> TableFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()  # else it would try to when its file is gone, where a piece has failed
        self._file.close()

    def add(self, rows: pa.Table) -> None:
        if self._writer is None:
            self._writer = table_writer(self._file, rows.schema)
        if len(rows):
            self._writer.write_table(rows.cast(self._writer.schema))

    def end(self, step: Step) -> IO[bytes]:
        """The whole file, to be read from its begin."""
        if self._writer is None:
            raise WrongResult(f"Task {step.name} returned no rows from finish, which must return a table.")
        self._writer.close()
        self._file.seek(0)
        return self._file
