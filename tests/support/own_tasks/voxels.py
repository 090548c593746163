"""Tasks that make voxels from voxels: smoothed, labelled, copied, halved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from chunkflow.chunk import Array, Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.geometry import Box, Grid, Vec, VoxelSize
from chunkflow.kernels.precomputed.morton import voxel_ids
from chunkflow.task import (
    Cell,
    Image,
    Labels,
    Layout,
    Objects,
    Out,
    Result,
    Task,
    WindowTooSmall,
)


def padded(chunk: Chunk, box: Box) -> Array:
    """The chunk's voxels over `box`; those at the volume's border are repeated beyond it."""
    before = [
        (max(a - b, 0), max(d - c, 0))
        for a, b, c, d in zip(chunk.box.start, box.start, chunk.box.stop, box.stop, strict=True)
    ]
    return np.pad(chunk.array, before, mode="edge")


class Smooth(Task):
    """The mean of the voxels around each, in whole numbers; it may ask for its full window."""

    image: Image
    smooth: Image = Out()
    radius: int = 2
    asks: bool = False

    def halo(self, voxel_size: VoxelSize) -> Sequence[Vec]:
        full = (self.radius,) * 3
        return [(0, 0, 0), full] if self.asks else [full]

    def map(self, cell: Cell, image: Chunk) -> Result:
        wanted = cell.box.grow((self.radius,) * 3)
        if not image.box.contains(wanted.clip(cell.volume)):
            raise WindowTooSmall
        total = np.cumsum(padded(image, wanted), 0, np.uint64)
        for axis in range(3):
            total = np.cumsum(total, axis) if axis else total
            edge = np.zeros((1, *np.delete(total.shape, axis)), np.uint64)
            total = np.concatenate([np.moveaxis(edge, 0, axis), total], axis)
            last = total.shape[axis] - (2 * self.radius + 1)
            total = np.take(total, np.arange(last) + 2 * self.radius + 1, axis) - np.take(
                total, np.arange(last), axis
            )
        mean = total // np.uint64((2 * self.radius + 1) ** 3)
        return Chunk(mean.astype(image.array.dtype), cell.box, cell.voxel_size)


class Tiles(Task):
    """Cuboids counted from the volume's first voxel, each named by its own first voxel; some are left out.

    A voxel is labelled where the image is above `level`, decided by `prepare` from the image's corner unless
    given; then tiles are in pieces, so the labels count as connected only for level 0.
    """

    connected = False
    image: Image
    labels: Labels = Out()
    size: Vec = (9, 13, 40)
    level: int | None = None

    def samples(self, layout: Layout) -> list[tuple[str, Box]]:
        corner = Box.of_size((8, 8, 8), layout.main.volume.start).clip(layout.main.volume)
        return [("image", corner)]

    def prepare(self, layout: Layout, samples: Iterable[Any]) -> dict[str, Any]:
        means = [int(sample.array.mean()) for sample in samples]
        return {"level": means[0] if self.level is None else self.level}

    def map(self, cell: Cell, image: Chunk) -> Result:
        labels = tiles(cell.box, cell.volume, self.size)
        return {"labels": image.like(np.where(image.array >= cell.values["level"], labels, np.uint64(0)))}


class WholeTiles(Tiles):
    """Tiles in one piece each."""

    connected = True

    def map(self, cell: Cell, image: Chunk) -> Result:
        return image.like(tiles(cell.box, cell.volume, self.size))


def tiles(box: Box, volume: Box, size: Vec) -> Array:
    places = [np.arange(a, b) - o for a, b, o in zip(box.start, box.stop, volume.start, strict=True)]
    x, y, z = np.meshgrid(*(p // s for p, s in zip(places, size, strict=True)), indexing="ij")
    first = np.stack([x * size[0], y * size[1], z * size[2]], -1).reshape(-1, 3)
    ids = voxel_ids(first, volume.size).reshape(x.shape)
    return np.asfortranarray(np.where((x * 7 + y * 3 + z) % 5 == 0, np.uint64(0), ids))


class Sections(Task):
    """Copies an image section by section, each after the one before, and notes in which order."""

    after = ((0, 0, -1),)
    image: Image
    copy_: Image = Out()
    log: str

    def map(self, cell: Cell, image: Chunk) -> Result:
        with open(self.log, "a") as file:
            file.write(f"{cell.box.start[2]}\n")
        return image


class Two(Task):
    """Two layers of unlike kinds at once."""

    image: Image
    bright: Labels = Out()
    inverse: Image = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"bright": layout.main.as_labels(), "inverse": layout.main.as_image("float32")}

    def map(self, cell: Cell, image: Chunk) -> Result:
        bright = image.like((image.array > 100).astype(np.uint64))
        return {"bright": bright, "inverse": image.like(-image.array.astype(np.float32))}


class Coarse(Task):
    """Every second voxel, on a grid of its own in the coarser voxels."""

    image: Image
    half: Image = Out()
    cell_size: Vec = Field((64, 64, 64))

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        main = layout.main
        x, y, z = main.voxel_size
        return {"half": main.over(main.volume.coarsen((2, 2, 2)), (2 * x, 2 * y, 2 * z))}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.chunks(region, self.cell_size)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box.refine((2, 2, 2))]

    def map(self, cell: Cell, image: Chunk) -> Result:
        first = [-(a % 2) for a in image.box.start]
        places = [np.arange(n) * 2 + f for n, f in zip(cell.box.size, first, strict=True)]
        places = [np.clip(p, 0, n - 1) for p, n in zip(places, image.array.shape, strict=True)]
        return Chunk(np.asfortranarray(image.array[np.ix_(*places)]), cell.box, cell.voxel_size)


class Unmapped(Task):
    """A task that says what it makes, but not how."""

    image: Image
    made: Image = Out()


class Shapeless(Unmapped):
    """A table whose rows nobody puts together."""

    table: Objects = Out()

    def map(self, cell: Cell, image: Chunk) -> Result:
        return image
