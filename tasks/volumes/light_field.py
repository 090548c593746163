"""The first steps of `correct`: an image made small, and the field of light that is found in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.chunk import Chunk
from chunkflow.data.info import FolderInfo, LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, Vec, held_within, scaled, vec
from chunkflow.kernels.illumination.bias_field import (
    Floats,
    above_background,
    averaging_factor,
    fit_log_field,
    import_n4,
)
from chunkflow.kernels.images.pooling import pool
from chunkflow.task import Cell, Files, Image, Labels, Layout, Objects, Out, Report, SentRows, Task
from tasks.volumes.field_picture import png_of_field

MOST_VOXELS = 500_000
"""Of the averaged image: more tell nothing of so smooth a field, and N4 takes a minute for so many."""
SIDE = 256
"""Voxels along a side of the cells that are averaged, whatever the chunks: which of them lie outside of the
job's mask must not depend on these."""
COLUMNS = pa.schema(
    [
        ("id", pa.uint64()),
        *((name, pa.int64()) for name in ("x", "y", "z", "size_x", "size_y", "size_z")),
        ("mean", pa.binary()),
        ("kept", pa.binary()),
    ]
)


def factor_of(layout: Layout, field: str) -> Vec:
    """How many voxels along each axis are averaged; the volume alone decides."""
    info = layout.info(field)
    return averaging_factor(info.voxel_size, info.volume.start, info.volume.stop, MOST_VOXELS)


class AverageImage(Task):
    """Means of blocks of an image, and how much of each is within the mask: one row for each cell."""

    shape = SentRows()
    same_voxels: ClassVar[bool] = False
    working_bytes: ClassVar[float] = 2.0

    image: Image
    mask: Labels = ""
    averages: Objects = Out()
    channel: int

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        layout.refuse_channel("correct", "image", self.image, self.channel)
        return {"averages": layout.main.as_table()}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.lattice(region, vec(max(SIDE // f, 1) * f for f in factor_of(layout, "image")))

    def gathers(self, layout: Layout, region: Box) -> Grid:
        return Grid.whole(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        if field == "image":
            return [box]
        own, mask = layout.info("image").voxel_size, layout.info("mask")
        return [held_within(scaled(box, own, mask.voxel_size), mask.bounds)]

    def map(self, cell: Cell, image: Chunk, mask: Chunk | None = None) -> pa.Table:
        factor = factor_of(cell.layout, "image")
        array = image.array if image.array.ndim == 3 else image.array[..., self.channel]
        start = image.box.start
        mean = pool(array, start, factor, "mean", "float32")
        kept = b""
        if mask is not None:
            kept = pool(_nearest(mask, image), start, factor, "mean", "float32").tobytes()
        row = (cell.index + 1, *image.box.coarsen(factor).start, *mean.shape, mean.tobytes(), kept)
        made = {name: [value] for name, value in zip(COLUMNS.names, row, strict=True)}
        return pa.table(made, COLUMNS).append_column("cell", pa.array([0], pa.int64()))

    def finish(self, cell: Cell, rows: pa.Table) -> pa.Table:
        if not rows.num_columns:  # all is outside of the job's mask
            return COLUMNS.empty_table()
        return rows.select(COLUMNS.names).sort_by("id")


def _nearest(mask: Chunk, image: Chunk) -> npt.NDArray[np.uint8]:
    """1 where the mask is not 0 at the centre of an image's voxel; 0 beyond the mask."""
    places, inside = [], []
    for axis in range(3):
        first, last = mask.box.start[axis], mask.box.stop[axis]
        centres = np.arange(image.box.start[axis], image.box.stop[axis]) + 0.5
        place = np.floor(centres * (image.voxel_size[axis] / mask.voxel_size[axis])).astype(np.int64)
        inside.append((place >= first) & (place < last))
        places.append(np.clip(place, first, last - 1) - first)
    array = mask.array if mask.array.ndim == 3 else mask.array[..., 0]
    kept = (array[np.ix_(*places)] != 0) & inside[0][:, None, None]
    return np.asarray(kept & inside[1][:, None] & inside[2], np.uint8)


class FitField(Task):
    """The field of an averaged image, whole in one cell."""

    same_voxels: ClassVar[bool] = False
    working_bytes: ClassVar[float] = 128.0

    averages: Objects
    fitted: Image = Out(in_work=True)
    report: Report = Out()
    source: str
    """The name of the image, for people."""
    masked: bool
    dark: float
    levels: int
    iterations: int

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        import_n4()
        factor, main = factor_of(layout, "averages"), layout.main
        x, y, z = (size * f for size, f in zip(main.voxel_size, factor, strict=True))
        field = main.as_image("float32", 1).over(main.volume.coarsen(factor), (x, y, z))
        return {"fitted": field, "report": FolderInfo(volume=field.volume, voxel_size=field.voxel_size)}

    def grid(self, layout: Layout, region: Box) -> Grid:
        """One cell of whole storage chunks."""
        return Grid.chunks(
            region, vec(-(-n // s) * s for n, s in zip(region.size, layout.storage, strict=True))
        )

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        """All averages, also where a part of the field is wanted."""
        return [layout.main.volume]

    def map(self, cell: Cell, averages: pa.Table) -> dict[str, Chunk | Files]:
        image, kept = _put_together(averages, cell.volume)
        image -= np.float32(self.dark)
        mask = above_background(image)
        if self.masked:
            mask = (kept >= 0.5) & np.isfinite(image) & (image > 0)
        if not mask.any():
            where = " within the mask" if self.masked else ""
            raise BadInput(
                f"correct: there is nothing to fit a field to: {self.source}, averaged, has no voxel{where} "
                f"that is brighter than {self.dark:g}."
            )
        field = fit_log_field(image, mask, self.levels, self.iterations)
        drawn = png_of_field(image, field, mask, cell.voxel_size)
        return {"fitted": Chunk(field, cell.volume, cell.voxel_size), "report": {"field.png": drawn}}


def _put_together(rows: pa.Table, volume: Box) -> tuple[Floats, Floats]:
    """The averaged image, and how much of each voxel is within the mask; 0 where no cell was averaged."""
    image, kept = (np.zeros(volume.size, np.float32) for _ in range(2))
    for row in rows.to_pylist():
        size = vec(row[f"size_{axis}"] for axis in "xyz")
        here = Box.of_size(size, vec(row[axis] for axis in "xyz")).slices(volume.start)
        image[here] = np.frombuffer(row["mean"], np.float32).reshape(size)
        if row["kept"]:
            kept[here] = np.frombuffer(row["kept"], np.float32).reshape(size)
    return image, kept
