"""Cells in a heatmap: its summits, each once, named by their voxels.

1. The heatmap's values become whole numbers, 65,535 for 1.
2. `find_summits` gives the summits of a chunk from what lies within a radius around it.
3. A summit is named as `segment` names objects: 1 + the compressed Morton code of its voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from chunkflow.chunk import Chunk
from chunkflow.data.info import ImageInfo, LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.kernels.images.summits import find_summits, window_reach
from chunkflow.kernels.precomputed.morton import voxel_ids
from chunkflow.task import Cell, Image, Layout, MergedRows, Objects, Out, Task

FULL = 65535
STEPS = {"uint8": FULL // 255, "uint16": 1}
COLUMNS = ("x", "y", "z", "x_um", "y_um", "z_um")


class Detect(Task):
    """Find the cells in a heatmap, as `infer` makes one with a network that learnt from points.

    A cell is a voxel around which more heat lies than around any other within `radius`; its place is the
    centre of that heat. So a cell is found once, also where the heatmap is flat at its top, and cells closer
    than the radius are one. The table has a row a cell: its place, and its `probability`, which is the
    heatmap's value there. `annotate`, `count`, `evaluate` and `export` take it as they take `measure`'s.
    """

    shape = MergedRows()
    working_bytes: ClassVar[float] = 40.0

    image: Image = Field(description="the heatmap: a probability, of 255, 65535 or 1.0 where it is certain")
    objects: Objects = Out("the table, one row a cell")
    channel: int = Field(0, ge=0, description="which channel of the image, from 0")
    radius: float = Field(4.0, gt=0, le=1000, description="least distance of two cells, micrometres")
    threshold: float | None = Field(
        None,
        gt=0,
        le=1,
        description="least probability of a cell; left out, that which the network's training chose",
    )

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        image = layout.main
        assert isinstance(image, ImageInfo)
        layout.refuse_channel("detect", "image", self.image, self.channel)
        if image.dtype not in (*STEPS, "float32"):
            raise BadInput(
                f"detect: {self.image} is an image of {image.dtype}; a heatmap is of "
                f"{', '.join(STEPS)} or float32."
            )
        self._least(layout)
        return super().outputs(layout)

    def _least(self, layout: Layout) -> int:
        """The least probability in whole steps."""
        image = layout.main
        assert isinstance(image, ImageInfo)
        known = [content.threshold for content in image.contents][self.channel : self.channel + 1]
        least = self.threshold if self.threshold is not None else (known or [None])[0]
        if least is None:
            raise BadInput(
                f"{self.image} does not say from which probability on there is a cell: give `threshold`, "
                "as 0.5."
            )
        return ceil(least * FULL - 1e-6)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box.grow(window_reach(self.radius * 1000, layout.main.voxel_size)).clip(layout.main.volume)]

    def map(self, cell: Cell, image: Chunk) -> pa.Table:
        heat = _steps(image, self.channel)
        radius, voxel_size = self.radius * 1000, cell.voxel_size
        voxels, places, values = find_summits(
            heat, image.box, cell.box, radius, voxel_size, self._least(cell.layout)
        )
        return _rows(voxels, places, values, cell)

    def no_rows(self, layout: Layout) -> pa.Table:
        nothing = pa.table({"id": pa.array([], pa.uint64())})
        for name in COLUMNS:
            nothing = nothing.append_column(name, pa.array([], pa.float64()))
        return nothing.append_column("probability", pa.array([], pa.float32()))

    def merge(self, rows: pa.Table) -> pa.Table:
        return rows  # a cell of the grid finds all of its own


def _steps(image: Chunk, channel: int) -> npt.NDArray[np.uint16]:
    array: npt.NDArray[Any] = image.array if image.array.ndim == 3 else image.array[..., channel]
    if array.dtype.kind != "f":
        return array.astype(np.uint16) * np.uint16(STEPS[str(array.dtype)])
    if np.isnan(array).any():
        raise ValueError(f"the heatmap has voxels that are not numbers within {image.box}")
    return (array.clip(0, 1) * np.float32(FULL) + np.float32(0.5)).astype(np.uint16)


def _rows(
    voxels: npt.NDArray[np.int64],
    places: npt.NDArray[np.float64],
    values: npt.NDArray[np.uint16],
    cell: Cell,
) -> pa.Table:
    ids = voxel_ids(voxels - np.array(cell.volume.start), cell.volume.size)
    order = np.argsort(ids)
    columns: dict[str, npt.NDArray[Any]] = {"id": ids[order]}
    for axis, name in enumerate("xyz"):
        columns[name] = places[order, axis]
    for axis, name in enumerate("xyz"):
        columns[f"{name}_um"] = places[order, axis] * (cell.voxel_size[axis] / 1000)
    columns["probability"] = (values[order] / np.float64(FULL)).astype(np.float32)
    return pa.table(columns)
