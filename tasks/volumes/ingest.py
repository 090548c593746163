"""Ingest: what a microscope or another program left, in whatever format, becomes a volume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from chunkflow.chunk import Chunk
from chunkflow.data.info import ImageInfo, LabelsInfo, LayerInfo
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.formats.stacks.axes import made_dtype
from chunkflow.formats.stacks.facts import size_of_voxels
from chunkflow.formats.stacks.slabs import cell_size
from chunkflow.formats.stacks.source_files import source_files
from chunkflow.formats.stacks.stack import Stack, open_stack
from chunkflow.geometry import Box, Grid, vec
from chunkflow.task import Cell, File, Layer, Layout, Out, Task
from chunkflow.words import parse_voxel_size


class Ingest(Task):
    """Write TIFF, Zarr, N5, HDF5, Imaris, NIfTI, NumPy or a microscope's file as a layer.

    A source is a TIFF stack, a folder of TIFF planes (in the natural order of their names, none may be
    missing), OME-Zarr or plain Zarr, N5 or NumPy (.npy, FILE.npz:ARRAY); with the extra `formats` HDF5
    (FILE.h5:DATASET where it has several), Imaris .ims, NIfTI (.nii, .nii.gz) and TIFFs of any compression;
    or .czi, .nd2 and .lif with the extra `microscopes`.
    Axes, voxel size, place and channels are what it says of them; where it does not say how its axes lie,
    they are z, y, x (N5: x, y, z). A place between voxels is rounded to the nearest. Without `channel` all
    channels go into one image.

    Images become uint8, uint16 or float32 (of other numbers that it can hold), labels uint32 or uint64.

    A .nii.gz or .npz cannot be read here and there: every worker unpacks it once into its temporary
    folder (TMPDIR), which must have room for it.
    """

    working_bytes: ClassVar[float] = 4.0

    source: File = Field(description="path of what is read; FILE:NAME for one of several arrays in a file")
    voxel_size: str = Field(
        "", description="size of a voxel along x, y, z with its unit, 0.227,0.227,1um; as the source says"
    )
    kind: Literal["image", "labels"] = Field("image", description="what the voxels are")
    axes: str = Field("", pattern="^[xyzct]*$", description="order of the source's axes, as in zyx or czyx")
    channel: str = Field("", description="the one channel to take, its number from 0, else its name")
    time: int | None = Field(None, ge=0, description="the one point of time to take, from 0")
    layer: Layer = Out("the image or labels to make")

    @field_validator("voxel_size")
    @classmethod
    def _with_unit(cls, value: str) -> str:
        if value:
            parse_voxel_size(value)
        return value

    @field_validator("channel", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def files_read(self) -> dict[str, Sequence[str | Path]]:
        return {"source": source_files(self.source)}

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        stack = self.stack()
        channels = stack.channels if self.number(stack) is None else 1
        if self.kind == "labels" and channels > 1:
            raise BadInput(f"{self.source} has {channels} channels; labels have one: say which by channel.")
        given = parse_voxel_size(self.voxel_size) if self.voxel_size else None
        made = ImageInfo if self.kind == "image" else LabelsInfo
        info = made(
            volume=Box.of_size(stack.size, stack.facts.offset),
            voxel_size=size_of_voxels(self.source, stack.facts, given),
            dtype=made_dtype(self.source, stack.dtype, self.kind),
            channels=channels,
        )
        return {"layer": info}

    def grid(self, layout: Layout, region: Box) -> Grid:
        """Chunks, or slabs where the source is decoded in larger blocks."""
        voxel_bytes = layout.voxels("layer").bytes_per_voxel
        cell = cell_size(self.stack().block, layout.chunk, layout.storage, region.size, voxel_bytes)
        return Grid.chunks(region, cell)

    def prepare(self, layout: Layout, samples: Iterable[Chunk | pa.Table]) -> dict[str, Any]:
        """What is damaged or missing is told before the first voxel is written."""
        self.stack().check()
        return {}

    def setup(self, layout: Layout) -> Stack:
        return self.stack()

    def map(self, cell: Cell, **inputs: Any) -> Chunk:
        stack: Stack = cell.loaded or self.stack()
        start = stack.facts.offset
        array = stack.read(cell.box.shift(vec(-n for n in start)), self.number(stack))
        dtype = made_dtype(self.source, stack.dtype, self.kind)
        if self.kind == "labels" and np.issubdtype(array.dtype, np.signedinteger) and array.min() < 0:
            raise DamagedInput(f"{self.source} holds {array.min()} in {cell.box}: labels are at least 0")
        array = array[..., 0] if array.shape[3] == 1 else array
        return Chunk(array.astype(dtype, order="F", copy=False), cell.box, cell.voxel_size)

    def stack(self) -> Stack:
        """The source, opened; nothing but headers is read."""
        return open_stack(self.source, self.axes, self.time)

    def number(self, stack: Stack) -> int | None:
        """The channel that is to be taken; None where all are. A number counts from 0 even where channels are
        called 1 and 2."""
        if not self.channel:
            return None
        names = list(stack.facts.names)
        if self.channel.isdecimal() and int(self.channel) < stack.channels:
            return int(self.channel)
        if self.channel in names:
            return names.index(self.channel)
        named = f" ({', '.join(names)})" if any(names) else ""
        raise BadInput(
            f"{self.source} has {stack.channels} channels{named}, so none is called {self.channel}."
        )
