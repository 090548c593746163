"""Ingest: a microscope's stack of planes becomes a volume."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field, field_validator

from chunkflow.chunk import Chunk, VoxelSize
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, vec
from chunkflow.task import Cell, Image, Layout, Out, Task
from chunkflow.volume import LayerInfo
from tasks.stacks import Stack, open_stack

NANOMETRES = {"nm": 1.0, "um": 1000.0, "µm": 1000.0, "μm": 1000.0}
SLAB_BYTES = 256 << 20


class Ingest(Task):
    """Write a NumPy array, a TIFF stack or a folder of TIFF planes as `image`.

    A TIFF file says how its axes lie; an array is taken as z, y, x, as most programs write it.
    The planes of a folder are taken in the natural order of their names, and none may be missing.
    """

    version: ClassVar[int] = 1

    source: str = Field(description="path of a .npy array, a TIFF stack, or a folder of TIFF planes")
    voxel_size: str = Field(description="size of a voxel along x, y, z with its unit: 0.227,0.227,1um")
    axes: str = Field("", pattern="^[xyzc]*$", description="order of the source's axes, as in zyx or czyx")
    channel: int | None = Field(None, ge=0, description="the one channel to take; by default all")
    image: Image = Out("the image to make")

    @field_validator("source")
    @classmethod
    def _absolute(cls, value: str) -> str:
        """Workers have working folders of their own."""
        if "://" in value and not value.startswith("file://"):
            raise ValueError("must be a path on this machine or on a disk that it shares with the workers")
        return os.path.abspath(os.path.expanduser(value.removeprefix("file://")))

    @field_validator("voxel_size")
    @classmethod
    def _with_unit(cls, value: str) -> str:
        parse_voxel_size(value)
        return value

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        stack = self.stack()
        bounds = Box.of_size(stack.size)
        info = LayerInfo(
            url="",
            kind="image",
            bounds=bounds,
            volume=bounds,
            voxel_size=parse_voxel_size(self.voxel_size),
            dtype=stack.dtype,
            channels=1 if self.channel is not None else stack.channels,
        )
        return {"image": info}

    def grid(self, layout: Layout, region: Box) -> Grid:
        """Where whole planes must be decoded, slabs of whole planes: as many rows as memory allows."""
        if not self.stack().by_planes:
            return Grid.chunks(region, layout.chunk)
        info = layout.info("image")
        x, y, z = (-(-n // s) * s for n, s in zip(region.size, layout.storage, strict=True))
        row = x * layout.storage[2] * info.bytes_per_voxel * layout.storage[1]
        rows = min(max(SLAB_BYTES // row, 1) * layout.storage[1], y)
        return Grid.chunks(region, vec((x, rows, min(layout.storage[2], z))))

    def prepare(self, layout: Layout, samples: Iterable[Chunk | pa.Table]) -> dict[str, Any]:
        """Every plane's header is looked at before the first voxel is written."""
        return {"planes": self.stack().check()}

    def setup(self) -> Stack:
        return self.stack()

    def map(self, cell: Cell, **inputs: Any) -> Chunk:
        stack: Stack = cell.loaded or self.stack()
        array = stack.read(cell.box)
        if self.channel is not None:
            array = array[..., self.channel : self.channel + 1]
        return Chunk(array[..., 0] if array.shape[3] == 1 else array, cell.box, cell.voxel_size)

    def stack(self) -> Stack:
        """The source, opened; nothing but headers is read."""
        stack = open_stack(self.source, self.axes)
        if self.channel is not None and self.channel >= stack.channels:
            raise BadInput(
                f"{self.source} has {stack.channels} channels, so none has the number {self.channel}."
            )
        return stack

    def extent(self) -> str:
        """What will be made, in voxels and in millimetres, for the user to see whether it can be true."""
        stack = self.stack()
        size = parse_voxel_size(self.voxel_size)
        voxels = " x ".join(str(n) for n in stack.size)
        millimetres = " x ".join(f"{n * s * 1e-6:.4g}" for n, s in zip(stack.size, size, strict=True))
        channels = f" in {stack.channels} channels" if stack.channels > 1 and self.channel is None else ""
        return f"{voxels} voxels (x, y, z) of {stack.dtype}{channels}: {millimetres} mm"


def parse_voxel_size(text: str) -> VoxelSize:
    """Nanometres along x, y, z from text such as 0.227,0.227,1um; a number without any unit is refused."""
    parts = re.split(r"\s*[,;]\s*|\s+(?=[\d.])", text.strip())
    matches = [re.fullmatch(r"([\d.]+(?:e[+-]?\d+)?)\s*([a-zµμ]*)", part, re.IGNORECASE) for part in parts]
    found = [match for match in matches if match is not None]
    if len(parts) != 3 or len(found) != 3:
        raise ValueError("must be three sizes, along x, y and z, with their unit, as in 0.227,0.227,1um")
    units = [match[2] or found[2][2] for match in found]
    if any(unit not in NANOMETRES for unit in units):
        raise ValueError("must have a unit, um or nm, as in 0.227,0.227,1um or 227,227,1000nm")
    try:
        sizes = [
            round(float(match[1]) * NANOMETRES[unit], 6) for match, unit in zip(found, units, strict=True)
        ]
    except ValueError:
        raise ValueError("must be three numbers and a unit, as in 0.227,0.227,1um") from None
    if not all(0 < size < 1e9 for size in sizes):
        raise ValueError("must be larger than nothing and smaller than a metre")
    return sizes[0], sizes[1], sizes[2]
