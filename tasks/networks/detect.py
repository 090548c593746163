"""Cells in a heatmap: its peaks, each once, without labels between.

1. `prepare` decides the threshold: the one given, or the one that the network's training chose.
2. The heat of a chunk is summed over boxes of half a diameter; the peaks of these sums are cells.
3. Each row goes to the file of the part of space in which its peak lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import ceil, floor, prod
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, field_validator

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, Vec, VoxelSize, finish_cell, vec
from chunkflow.kernels.objects.heat_peaks import (
    LARGEST_BOX,
    HeatPeaks,
    find_heat_peaks,
    offsets_within,
    peak_reach,
)
from chunkflow.kernels.objects.moments import STEPS, quantise
from chunkflow.kernels.precomputed.morton import voxel_ids
from chunkflow.task import Cell, Image, Layout, Objects, Out, SentRows, Task

STEPS_OF = {"uint8": 255, "uint16": STEPS, "float32": STEPS}
"""Which step stands for 1, by how a heatmap is stored."""
PROBABILITIES = ("probability", "class")
COLUMNS = pa.schema(
    [
        ("id", pa.uint64()),
        *((axis, pa.float64()) for axis in ("x", "y", "z", "x_um", "y_um", "z_um")),
        ("probability", pa.float32()),
        ("diameter_um", pa.float32()),
    ]
)


class Detect(Task):
    """Find the cells in a heatmap, as `infer` makes it: one row a peak, named by its voxel.

    The heat is smoothed over half a diameter. A cell is a voxel of at least `threshold` around which the
    smoothed heat is the highest within half a diameter, among all such voxels and its 26 neighbours; of equal
    ones it is the first. So no two peaks are closer than half a diameter, noise makes no cells of its own,
    and a blob of 255s is one cell, in its middle. All is reckoned in whole numbers, and depends on nothing
    more than a diameter away: the rows are the same however the volume is cut.

    Columns: `id`; `x`, `y`, `z`, the centre of the heat of at least the threshold within half a diameter of
    the peak, in voxels (the centre of voxel i is i + 0.5), and `x_um`, `y_um`, `z_um`; `probability`, that of
    the peak's voxel; and `diameter_um`, the diameter given, for tasks that draw or find cells as balls. An
    image of uint8 or uint16 has its largest value for 1; one of float32 counts in 65,536 steps from 0 to 1.
    """

    shape = SentRows()
    working_bytes: ClassVar[float] = 32.0

    image: Image = Field(description="the heatmap, uint8, uint16 or float32")
    objects: Objects = Out("the table, one row a cell")
    channel: int | str = Field(0, description="which channel, by its number from 0 or by its name")
    diameter: float = Field(8.0, gt=0, le=1000, description="of a cell, micrometres")
    threshold: float | Literal["model"] = Field(
        "model", description="least probability of a cell, 0 to 1; model is what its training chose"
    )

    @field_validator("channel")
    @classmethod
    def _counted_from_zero(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 0:
            raise ValueError("counts from 0")
        return value

    @field_validator("threshold")
    @classmethod
    def _is_probability(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and not 0 <= value <= 1:
            raise ValueError(f"is a probability, from 0 to 1, not {value:g}")
        return value

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        image = layout.images("image")[0]
        if image.dtype not in STEPS_OF:
            raise BadInput(
                f"detect: {self.image} is an image of {image.dtype}; one of {', '.join(STEPS_OF)} is needed."
            )
        if prod(2 * n + 1 for n in self._reach(image.voxel_size)[1]) > LARGEST_BOX:
            raise BadInput(
                f"detect: a cell of {self.diameter:g} um has too many voxels in {self.image}: "
                "take a coarser mip."
            )
        self._threshold(layout)
        table = image.as_table(finish_cell(layout.chunk))
        return {"objects": table.model_copy(update={"connected": True})}

    def gathers(self, layout: Layout, region: Box) -> Grid:
        """The files of the table."""
        return Grid(region, finish_cell(layout.chunk), layout.main.volume.start)

    def halo(self, voxel_size: VoxelSize) -> Sequence[Vec]:
        radii, half = self._reach(voxel_size)
        return [vec(max(1, floor(r)) + 2 * n for r, n in zip(radii, half, strict=True))]

    def prepare(self, layout: Layout, samples: Iterable[Chunk | pa.Table]) -> dict[str, Any]:
        return {"threshold": self._threshold(layout)}

    def map(self, cell: Cell, image: Chunk) -> pa.Table | None:
        steps = STEPS_OF[str(image.array.dtype)]
        # As it is written: 0.6 is 153 of 255, not a little more.
        least = max(1, ceil(Fraction(repr(float(cell.values["threshold"]))) * steps))
        core = [(part.start, part.stop) for part in cell.box.slices(image.box.start)]
        radii, half = self._reach(image.voxel_size)
        heat = self._heat(cell.layout, image)
        peaks = find_heat_peaks(heat, core, least, half, offsets_within(radii))
        return self._rows(cell, image, peaks, steps) if len(peaks.places) else None

    def finish(self, cell: Cell, rows: pa.Table) -> pa.Table:
        if not rows.num_columns:
            return COLUMNS.empty_table()
        return rows.select(COLUMNS.names).sort_by("id")

    def _channel(self, layout: Layout) -> int:
        image = layout.images("image")[0]
        if isinstance(self.channel, int):
            layout.refuse_channel("detect", "image", self.image, self.channel)
            return self.channel
        names = [content.name for content in image.contents]
        if self.channel not in names:
            known = f"has {', '.join(names)}" if names else "does not say what its channels are"
            raise BadInput(f"detect: there is no channel {self.channel!r}: {self.image} {known}.")
        return names.index(self.channel)

    def _threshold(self, layout: Layout) -> float:
        """The least probability of a cell; BadInput where none is known, or the channel holds none."""
        number, image = self._channel(layout), layout.images("image")[0]
        content = image.contents[number] if number < len(image.contents) else None
        if content is not None and content.kind not in PROBABILITIES:
            raise BadInput(
                f"detect: channel {content.name!r} of {self.image} holds no probabilities (its kind is "
                f"{content.kind}): choose another `channel`."
            )
        if self.threshold != "model":
            return self.threshold
        if content is None or content.threshold is None:
            raise BadInput(
                f"detect: {self.image} does not say from which probability on there is a cell: "
                "give `threshold`, as 0.5."
            )
        return content.threshold

    def _heat(self, layout: Layout, image: Chunk) -> npt.NDArray[Any]:
        """The heat in whole steps."""
        array = image.array if image.array.ndim == 3 else image.array[..., self._channel(layout)]
        if array.dtype.kind != "f":
            return array
        if np.isnan(array).any():
            raise ValueError(f"the image has voxels that are not numbers within {image.box}")
        return quantise(array, 0.0, 1.0)

    def _rows(self, cell: Cell, image: Chunk, peaks: HeatPeaks, steps: int) -> pa.Table:
        voxels = peaks.places + np.array(image.box.start)
        from_first = voxels - np.array(cell.volume.start)
        middle = peaks.centres(image.box.start)
        files = self.gathers(cell.layout, cell.bounds)
        position = from_first // np.array(files.cell) - np.array(files.first)
        columns: dict[str, Any] = {"id": voxel_ids(from_first, cell.volume.size)}
        columns |= {axis: middle[:, i] for i, axis in enumerate("xyz")}
        columns |= {f"{axis}_um": middle[:, i] * (cell.voxel_size[i] / 1000) for i, axis in enumerate("xyz")}
        columns["probability"] = (peaks.heights / steps).astype(np.float32)
        columns["diameter_um"] = np.full(len(voxels), self.diameter, np.float32)
        return pa.table(columns, COLUMNS).append_column(
            "cell", pa.array(position @ np.array([1, files.shape[0], files.shape[0] * files.shape[1]]))
        )

    def _reach(self, voxel_size: VoxelSize) -> tuple[tuple[float, float, float], Vec]:
        return peak_reach(self.diameter * 1000, voxel_size)
