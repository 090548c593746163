"""Scan: a volume imaged as by a light-sheet microscope: tiles to be stitched and held against the truth.

1. Positions, gains and offsets of all tiles follow from the seed.
2. `map` makes one tile: it reads its box of each image and writes one TIFF stack; the first writes the truth.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from math import prod
from typing import ClassVar, Self

import numpy as np
import tifffile
from pydantic import Field, model_validator

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, Vec, VoxelSize, vec
from chunkflow.kernels.synthetic.tiles import Microscope, expose, snake
from chunkflow.task import Cell, Files, Image, Layout, Out, Report, Task

DTYPES = ("uint8", "uint16")
LARGEST = 2**32 - 2**20  # bytes that a TIFF of ImageJ can hold


class Scan(Task):
    """Image a volume as a light-sheet microscope does: a grid of overlapping tiles, as TIFF stacks.

    To try a stitching, and see how far it is from the truth. The tiles are numbered in the order in which the
    stage comes by, every other row backwards (`tile_00.tif`, ...); each has all channels, with the size of
    its voxels. They lie in the middle of the volume, which must have room for all of them. Each channel has a
    field of its own, brightest somewhere near the middle; every tile has a gain, an offset and shot noise of
    its own, so the images should have no noise yet (`synthesize` with `noise: 0`).

    Beside the tiles, `truth.csv` says for each its row, column, first voxel (in voxels of the volume), gains
    and offsets, and `truth.npz` has the fields (`flat_0`, `dark_0`, ... by channel).
    """

    working_bytes: ClassVar[float] = 16.0

    images: list[Image] = Field(description="the channels, of uint8 or uint16")
    tiles: Report = Out("the folder of the tiles")
    columns: int = Field(5, ge=1, le=99, description="tiles along x")
    rows: int = Field(5, ge=1, le=99, description="tiles along y")
    size: Vec = Field((192, 192, 64), description="voxels of a tile along x, y, z")
    overlap: tuple[float, float] = Field(
        (0.05, 0.1), description="least and largest share of a tile that the next one shows, too"
    )
    jitter: Vec = Field((8, 8, 3), description="voxels that tiles lie off along x, y, z, to either side")
    vignetting: float = Field(
        0.3, ge=0, le=0.9, description="share of the light that the darkest corner lacks"
    )
    gain: float = Field(0.2, ge=0, le=0.9, description="tiles' gains go from 1 less this to 1 more this")
    offset: float = Field(10.0, ge=0, le=10_000, description="grey values that tiles' offsets go up and down")
    noise: float = Field(3.0, ge=0, le=50, description="shot noise: deviations, in roots of the grey value")
    seed: int = Field(1, ge=0, le=999_999_999, description="another seed, other tiles")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.images:
            raise ValueError("images: name one at least")
        if min(self.size) < 1 or min(self.jitter) < 0:
            raise ValueError("size must be at least one voxel along each axis, jitter at least 0")
        low, high = self.overlap
        if not 0 <= low <= high <= 0.5:
            raise ValueError("overlap must be two shares, the smaller one first, of at most 0.5")
        if 2 * len(self.images) * prod(self.size) > LARGEST:
            raise ValueError("size: a tile of all channels must be smaller than 4 GiB")
        return self

    @property
    def microscope(self) -> Microscope:
        return Microscope(self.seed, self.columns, self.rows, self.size, self.overlap, self.jitter)

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        """A volume too small for the tiles is refused."""
        volume, most = layout.main.volume, self.microscope.most
        if any(a < b for a, b in zip(volume.size, most, strict=True)):
            raise BadInput(
                f"scan: {self.columns} x {self.rows} tiles may take {_by(most)} voxels, but "
                f"{self.images[0]} has {_by(volume.size)}: scan fewer or smaller tiles, or a larger volume."
            )
        for name, info in zip(self.images, layout.images("images"), strict=True):
            if info.dtype not in DTYPES or info.channels != 1:
                raise BadInput(
                    f"scan: {name} is an image of {info.dtype} with {info.channels} channels; one channel of "
                    f"{' or '.join(DTYPES)} is needed."
                )
        cell = self.cell(layout)
        whole = vec(n * count for n, count in zip(cell, (self.columns, self.rows, 1), strict=True))
        return {"tiles": layout.main.as_folder().over(Box.of_size(whole, volume.start))}

    def grid(self, layout: Layout, region: Box) -> Grid:
        """One cell for each tile: about the part of the volume that it alone shows."""
        return Grid(region, self.cell(layout), layout.main.volume.start)

    def cell(self, layout: Layout) -> Vec:
        size = layout.main.volume.size
        return size[0] // self.columns, size[1] // self.rows, size[2]

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        """All that the tiles of these columns and rows can show, wherever their row and column have shifted
        them to."""
        if box.empty:
            return []
        xs, ys = self.microscope.steps
        start, cells = self.first(layout), Grid(box, self.cell(layout), layout.main.volume.start)
        (i, j, _), (columns, rows, _) = cells.first, cells.shape
        low, high = (xs[i], ys[j], 0), (xs[i + columns - 1], ys[j + rows - 1], 0)
        stop = [b + 2 * j + n for b, j, n in zip(high, self.jitter, self.size, strict=True)]
        return [
            Box(
                vec(a + s for a, s in zip(low, start, strict=True)),
                vec(b + s for b, s in zip(stop, start, strict=True)),
            )
        ]

    def first(self, layout: Layout) -> Vec:
        """Where the scan begins: it lies in the volume's middle."""
        volume, most = layout.main.volume, self.microscope.most
        return vec(a + (n - m) // 2 for a, n, m in zip(volume.start, volume.size, most, strict=True))

    def map(self, cell: Cell, images: list[Chunk]) -> Files:
        scan = self.microscope
        column, row, _ = self.grid(cell.layout, cell.box).first
        tile = row * self.columns + column
        corners = scan.places() + np.array(self.first(cell.layout))
        box = Box.of_size(self.size, vec(int(n) for n in corners[tile]))
        stack = np.empty((self.size[2], len(images), self.size[1], self.size[0]), np.uint16)
        for channel, image in enumerate(images):
            gain, offset = scan.lights(channel, self.gain, self.offset)[tile]
            flat = scan.flat(channel, self.vignetting)
            light = image.array[box.slices(image.box.start)]
            key = scan.noise_key(channel, tile)
            stack[:, channel] = expose(light, flat, gain, offset, self.noise, key)
        files = {self.names()[tile]: tiff(stack, cell.layout.main.voxel_size)}
        if tile == 0:
            files |= {"truth.csv": self._truth(corners), "truth.npz": self._fields()}
        return files

    def names(self) -> list[str]:
        """The tiles' files, row by row, numbered as the stage comes by."""
        order = snake(self.columns, self.rows)
        digits = len(str(len(order) - 1))
        return [f"tile_{order.index(tile):0{max(digits, 2)}d}.tif" for tile in range(len(order))]

    def _truth(self, corners: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> bytes:
        lights = [self.microscope.lights(n, self.gain, self.offset) for n in range(len(self.images))]
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        shown = [f"{what}_{n}" for n in range(len(lights)) for what in ("gain", "offset")]
        writer.writerow(["path", "row", "column", "x", "y", "z", *shown])
        for tile, (name, corner) in enumerate(zip(self.names(), corners.tolist(), strict=True)):
            light = [f"{value:.6g}" for channel in lights for value in channel[tile]]
            writer.writerow([name, tile // self.columns, tile % self.columns, *corner, *light])
        return table.getvalue().encode()

    def _fields(self) -> bytes:
        fields: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {}
        for channel in range(len(self.images)):
            flat = self.microscope.flat(channel, self.vignetting)
            fields |= {f"flat_{channel}": flat, f"dark_{channel}": np.zeros_like(flat)}
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **fields)
        return file.getvalue()


def tiff(stack: np.ndarray[tuple[int, ...], np.dtype[np.uint16]], voxel_size: VoxelSize) -> bytes:
    """A stack (z, channel, y, x) as ImageJ and others read it; the same bytes for the same voxels."""
    x, y, z = (length / 1000 for length in voxel_size)
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        stack,
        imagej=True,
        resolution=(1 / x, 1 / y),
        metadata={"axes": "ZCYX", "spacing": z, "unit": "um"},
    )
    return file.getvalue()


def _by(size: Sequence[int]) -> str:
    return " x ".join(str(n) for n in size)
