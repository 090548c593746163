"""The object table: where each object is, how large, and how its voxels are in each image.

1. `prepare` finds bounds for images of floats, which are measured in 65,536 steps, and, where contrasts are
   asked for, how strongly each filter answers to noise.
2. `map` sums up each object of a chunk in exact integers, and notes the faces that it goes on across.
   Where contrasts are asked for it filters the image, and keeps the largest response within each object.
3. `merge` adds the sums of the same object.
4. `finish` makes means and moments of them, and divides contrasts by noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, VoxelSize, vec
from chunkflow.kernels.images.surround import surround_std
from chunkflow.kernels.objects.moments import (
    Columns,
    float_step,
    largest_values,
    merge_sums,
    quantise,
    sum_objects,
)
from chunkflow.kernels.objects.roundness import no_products, roundness, sum_products
from chunkflow.kernels.objects.statistics import centroids, value_statistics
from chunkflow.task import Cell, Image, Labels, Layout, MergedRows, Objects, Out, Task
from tasks.cells.responses import channels, middle, noise_levels, reach, responses, sample_boxes, spreads

ONE_VOXEL = (1, 1, 1)
AXES = "xyz"
DTYPES = ("uint8", "uint16", "float32")


class Measure(Task):
    """Measure every object of `labels`: one row an id, in a table that later tasks read and extend.

    Columns: `id`; the centroid `x`, `y`, `z` in voxels (the centre of voxel i is i + 0.5) and `x_um`, `y_um`,
    `z_um`; the box `x_min` ... `z_max`; `volume` (voxels), `volume_um3`, `diameter_um` (of a ball as large);
    for each image `_mean`, `_std`, `_skew`, `_kurtosis` (excess), `_min`, `_max`; and `cut`, which says that
    the part of the volume that the job covers may cut the object. Any labels will do, also such whose objects
    span many chunks or have several pieces; all is exact, however the volume is cut. Images of floats are
    measured in 65,536 steps over a range found once; `_clipped` counts an object's voxels beyond it.

    For each of `contrasts`, a diameter in micrometres, and each image there is a column such as
    `dapi_contrast_12um`: the largest response within the object to a filter for blobs of that diameter, that
    of `segment`. How an object answers at several sizes tells a cell from what merely is as bright. Beside it
    stands the contrast-to-noise ratio, `dapi_cnr_12um`: this response in units of how strongly the filter
    answers to noise. It does not change with the gain and the offset of an image, so what is learned from it
    holds in the next brain. The noise is found once, in a fixed sample of the whole volume: the median
    absolute deviation of the response in each of up to 64 boxes, and of these the median. With contrasts
    there is `roundness`, too: 1 for a ball, near 0 for a rod or a sheet. With `surround` there is a column
    such as `dapi_surround`: how uneven the image is around the object, as the largest standard deviation in
    the box of so many micrometres to either side of one of its voxels.
    """

    shape = MergedRows()
    empty_from_empty: ClassVar[bool] = True

    labels: Labels = Field(description="the objects")
    images: list[Image] = Field(default_factory=list, description="the images to measure them in")
    contrasts: list[Annotated[float, Field(gt=0, le=1000)]] = Field(
        default_factory=list, description="diameters of blobs to filter each image for, micrometres"
    )
    surround: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="how far around an object to look at the image, micrometres; 0: nowhere",
    )
    objects: Objects = Out("the table, one row an object")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.contrasts or self.surround) and not self.images:
            raise ValueError("contrasts and surround are those of images: name one")
        if len({f"{diameter:g}" for diameter in self.contrasts}) < len(self.contrasts):
            raise ValueError("contrasts: a diameter is given twice")
        names = [_plain(name) for name in self.images]
        if len(set(names)) < len(names):
            raise ValueError(f"images {', '.join(self.images)}: two would have the same columns")
        return self

    def result_version(self) -> int:
        """2 with contrasts: they have ratios and roundness beside them now; other tables are as before."""
        return 2 if self.contrasts else 1

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        for name, info in zip(self.images, layout.images("images"), strict=True):
            if info.dtype not in DTYPES:
                raise BadInput(
                    f"measure: {name} is an image of {info.dtype}; one of {', '.join(DTYPES)} is needed."
                )
        return super().outputs(layout)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box.grow(ONE_VOXEL if field == "labels" else self._margin(layout.main.voxel_size))]

    def samples(self, layout: Layout) -> list[tuple[str, Box]]:
        floats, volume = _any_floats(layout), layout.main.volume
        if not floats and not self.contrasts:
            return []
        margin = reach(self.contrasts, layout.main.voxel_size)
        boxes = [box if floats else middle(box) for box in sample_boxes(volume)]
        return [("images", box.grow(margin).clip(volume)) for box in boxes]

    def prepare(self, layout: Layout, samples: Iterable[Any]) -> dict[str, Any] | None:
        ranges: list[tuple[float, float]] = []
        found: list[list[list[float]]] = []
        floats = _any_floats(layout)
        for box, chunks in zip(sample_boxes(layout.main.volume), samples, strict=False):
            if floats:
                cores = [chunk.crop(box).array for chunk in chunks]
                seen = [(float(core.min()), float(core.max())) for core in cores]
                ranges = [
                    (min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(ranges or seen, seen, strict=True)
                ]
            if self.contrasts:
                found.append(spreads(chunks, middle(box), self.contrasts))
        # Half of what was seen on either side, for what the sample did not see.
        bounds = [[low - (high - low) / 2, high + (high - low) / 2] for low, high in ranges]
        return {"ranges": bounds} | ({"noise": noise_levels(found)} if found else {})

    def map(self, cell: Cell, labels: Chunk, images: Sequence[Chunk] = ()) -> pa.Table:
        below = [a - b for a, b in zip(cell.box.start, labels.box.start, strict=True)]
        above = [b - a for a, b in zip(cell.box.stop, labels.box.stop, strict=True)]
        origin = [a - first for a, first in zip(cell.box.start, cell.volume.start, strict=True)]
        arrays, outside = [], []
        for index, image in enumerate(images):
            for array in channels(image.crop(cell.box)):
                steps, beyond = _steps(array, cell, index)
                arrays.append(steps)
                outside.append(beyond)
        columns = sum_objects(labels.array, arrays, origin, (below, above))
        for number, beyond in enumerate(outside):
            clipped = np.zeros(len(columns["id"]), np.uint64)
            if beyond is not None:
                clipped = sum_objects(labels.array, [beyond], origin, (below, above))["0:s1"]
            columns[f"{number}:clipped"] = clipped
        if len(columns["id"]):
            columns |= self._filtered(cell, labels.crop(cell.box).array, images)
            if self.contrasts:
                columns |= sum_products(labels.crop(cell.box).array, origin)
        return pa.table(columns) if len(columns["id"]) else self.no_rows(cell.layout)

    def _margin(self, voxel_size: VoxelSize) -> Vec:
        """How far around a cell its contrasts and surrounds depend on the images."""
        filtered, around = reach(self.contrasts, voxel_size), self._surround(voxel_size)
        return vec(max(pair) for pair in zip(filtered, around, strict=True))

    def _surround(self, voxel_size: VoxelSize) -> Vec:
        return vec(round(self.surround * 1000 / size) for size in voxel_size)

    def _filtered(self, cell: Cell, labels: npt.NDArray[Any], images: Sequence[Chunk]) -> Columns:
        """The largest value within each object of the images filtered."""
        columns: Columns = {}
        number = 0
        for index, image in enumerate(images):
            x, y, z = ((part.start, part.stop) for part in cell.box.slices(image.box.start))
            for array in channels(image):
                for which, response in enumerate(responses(array, image, cell.box, self.contrasts)):
                    columns[f"{number}:max_contrast_{which}"] = largest_values(labels, response)
                if self.surround:
                    radius = self._surround(image.voxel_size)
                    spread = surround_std(_steps(array, cell, index)[0], radius, (x, y, z))
                    columns[f"{number}:max_surround"] = largest_values(labels, spread)
                number += 1
        return columns

    def no_rows(self, layout: Layout) -> pa.Table:
        count = sum(info.channels for info in layout.images("images"))
        nothing = np.zeros((1, 1, 1), np.uint8)
        columns = sum_objects(nothing, [nothing] * count, (0, 0, 0), ((0, 0, 0), (0, 0, 0)))
        columns |= {f"{number}:clipped": np.zeros(0, np.uint64) for number in range(count)}
        for number in range(count):
            for index in range(len(self.contrasts)):
                columns[f"{number}:max_contrast_{index}"] = np.zeros(0, np.float32)
            if self.surround:
                columns[f"{number}:max_surround"] = np.zeros(0, np.float32)
        if self.contrasts:
            columns |= no_products()
        return pa.table(columns | {"id": np.zeros(0, np.uint64)})

    def merge(self, rows: pa.Table) -> pa.Table:
        return pa.table(merge_sums(_columns(rows)))

    def finish(self, cell: Cell, rows: pa.Table) -> pa.Table:
        columns = _columns(rows)
        table = _places(cell, columns)
        if self.contrasts:
            table["roundness"] = roundness(columns, cell.voxel_size)
        number = 0
        for image, (name, info) in enumerate(zip(self.images, cell.layout.images("images"), strict=True)):
            floats = info.dtype == "float32"
            low, high = cell.values["ranges"][image] if floats else (0.0, 1.0)
            for prefix in _prefixes(_plain(name), info.channels):
                step = float_step(low, high) if floats else 1.0
                found = value_statistics(columns, number, low, step)
                table |= {f"{prefix}_{what}": values for what, values in found.items()}
                if floats:
                    table[f"{prefix}_clipped"] = columns[f"{number}:clipped"]
                for index, diameter in enumerate(self.contrasts):
                    contrast = columns[f"{number}:max_contrast_{index}"]
                    table[f"{prefix}_contrast_{diameter:g}um"] = contrast
                    ratio = contrast.astype(np.float64) / cell.values["noise"][number][index]
                    table[f"{prefix}_cnr_{diameter:g}um"] = ratio.astype(np.float32)
                if self.surround:
                    spread = columns[f"{number}:max_surround"].astype(np.float64) * step
                    table[f"{prefix}_surround"] = spread.astype(np.float32)
                number += 1
        return pa.table(table | {"cut": _is_cut(cell, table) | (columns["faces"] != 0)})


def _any_floats(layout: Layout) -> bool:
    return any(info.dtype == "float32" for info in layout.images("images"))


def _plain(name: str) -> str:
    return name.split("@")[0]


def _prefixes(name: str, channels: int) -> list[str]:
    return [name] if channels == 1 else [f"{name}_{channel}" for channel in range(channels)]


def _steps(
    array: npt.NDArray[Any], cell: Cell, image: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8] | None]:
    """An image as integers of at most 16 bits, and where it lay beyond its range (None: nowhere)."""
    if array.dtype.kind != "f":
        return array, None
    low, high = cell.values["ranges"][image]
    beyond = (array < low) | (array > high)
    return quantise(array, low, high), beyond.astype(np.uint8) if beyond.any() else None


def _columns(rows: pa.Table) -> Columns:
    return {name: rows[name].to_numpy() for name in rows.column_names}


def _places(cell: Cell, columns: Columns) -> Columns:
    size_um = [size / 1000 for size in cell.voxel_size]
    middle = centroids(columns, cell.volume.start)
    table: Columns = {"id": columns["id"]}
    table |= {axis: middle[:, i] for i, axis in enumerate(AXES)}
    table |= {f"{axis}_um": middle[:, i] * size_um[i] for i, axis in enumerate(AXES)}
    for edge in ("min", "max"):
        for axis, first in zip(AXES, cell.volume.start, strict=True):
            table[f"{axis}_{edge}"] = columns[f"{edge}_{axis}"] + first
    volume_um3 = columns["volume"] * (size_um[0] * size_um[1] * size_um[2])
    # Rounded to float32, as the last bit of a root is not the same on every CPU.
    diameter = np.cbrt(volume_um3 * (6 / np.pi)).astype(np.float32)
    return table | {"volume": columns["volume"], "volume_um3": volume_um3, "diameter_um": diameter}


def _is_cut(cell: Cell, table: Columns) -> npt.NDArray[np.bool_]:
    """Which objects lie at a face of what the job covers that is not one of the volume."""
    cut = np.zeros(len(table["id"]), bool)
    for i, axis in enumerate(AXES):
        if cell.bounds.start[i] != cell.volume.start[i]:
            cut |= table[f"{axis}_min"] <= cell.bounds.start[i]
        if cell.bounds.stop[i] != cell.volume.stop[i]:
            cut |= table[f"{axis}_max"] >= cell.bounds.stop[i]
    return cut
