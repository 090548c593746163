"""The object table: where each object is, how large, and how its voxels are in each image.

1. `prepare` finds bounds for images of floats, which are measured in 65,536 steps.
2. `map` sums up each object of a chunk in exact integers, and notes the faces that it goes on across.
   Where contrasts are asked for it filters the image, and keeps the largest response within each object.
3. `merge` adds the sums of the same object.
4. `finish` makes means and moments of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, VoxelSize, vec
from chunkflow.kernels.images.gaussian import blob_sigma, difference_of_gaussians, filter_radius
from chunkflow.kernels.images.surround import surround_std
from chunkflow.kernels.objects.moments import (
    Columns,
    float_step,
    largest_values,
    merge_sums,
    quantise,
    sum_objects,
)
from chunkflow.kernels.objects.statistics import centroids, value_statistics
from chunkflow.task import Cell, Image, Labels, Layout, MergedRows, Objects, Out, Task

SAMPLE_BOXES = 64
SAMPLE_SIDE = 64
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
    of `segment`. How an object answers at several sizes tells a cell from what merely is as bright. With
    `surround` there is a column such as `dapi_surround`: how uneven the image is around the object, as the
    largest standard deviation in the box of so many micrometres to either side of one of its voxels.
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
        if not any(info.dtype == "float32" for info in layout.images("images")):
            return []
        volume = layout.main.volume
        counts = vec(max(1, min(4, n // SAMPLE_SIDE)) for n in volume.size)
        boxes = []
        for index in np.ndindex(*counts):
            start = vec(
                a + (n - min(n, SAMPLE_SIDE)) * (2 * i + 1) // (2 * count)
                for a, n, i, count in zip(volume.start, volume.size, index, counts, strict=True)
            )
            boxes.append(("images", Box.of_size(vec(min(n, SAMPLE_SIDE) for n in volume.size), start)))
        return boxes

    def prepare(self, layout: Layout, samples: Iterable[Any]) -> dict[str, Any] | None:
        ranges: list[tuple[float, float]] = []
        for chunks in samples:
            seen = [(float(chunk.array.min()), float(chunk.array.max())) for chunk in chunks]
            ranges = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(ranges or seen, seen, strict=True)]
        # Half of what was seen on either side, for what the sample did not see.
        return {"ranges": [[low - (high - low) / 2, high + (high - low) / 2] for low, high in ranges]}

    def map(self, cell: Cell, labels: Chunk, images: Sequence[Chunk] = ()) -> pa.Table:
        below = [a - b for a, b in zip(cell.box.start, labels.box.start, strict=True)]
        above = [b - a for a, b in zip(cell.box.stop, labels.box.stop, strict=True)]
        origin = [a - first for a, first in zip(cell.box.start, cell.volume.start, strict=True)]
        channels, outside = [], []
        for index, image in enumerate(images):
            for array in _channels(image.crop(cell.box)):
                steps, beyond = _steps(array, cell, index)
                channels.append(steps)
                outside.append(beyond)
        columns = sum_objects(labels.array, channels, origin, (below, above))
        for number, beyond in enumerate(outside):
            clipped = np.zeros(len(columns["id"]), np.uint64)
            if beyond is not None:
                clipped = sum_objects(labels.array, [beyond], origin, (below, above))["0:s1"]
            columns[f"{number}:clipped"] = clipped
        if len(columns["id"]):
            columns |= self._filtered(cell, labels.crop(cell.box).array, images)
        return pa.table(columns) if len(columns["id"]) else self.no_rows(cell.layout)

    def _margin(self, voxel_size: VoxelSize) -> Vec:
        """How far around a cell its contrasts and surrounds depend on the images."""
        largest = max(self.contrasts, default=0.0)
        filtered = filter_radius(blob_sigma(largest * 1000, voxel_size)) if largest else (0, 0, 0)
        return vec(max(pair) for pair in zip(filtered, self._surround(voxel_size), strict=True))

    def _surround(self, voxel_size: VoxelSize) -> Vec:
        return vec(round(self.surround * 1000 / size) for size in voxel_size)

    def _filtered(self, cell: Cell, labels: npt.NDArray[Any], images: Sequence[Chunk]) -> Columns:
        """The largest value within each object of the images filtered."""
        columns: Columns = {}
        number = 0
        for index, image in enumerate(images):
            x, y, z = ((part.start, part.stop) for part in cell.box.slices(image.box.start))
            for array in _channels(image):
                for which, diameter in enumerate(self.contrasts):
                    sigma = blob_sigma(diameter * 1000, image.voxel_size)
                    response = difference_of_gaussians(array, sigma, (x, y, z))
                    if array.dtype.kind == "f" and np.isnan(response).any():
                        raise ValueError(f"the image has voxels that are not numbers within {image.box}")
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
        return pa.table(columns | {"id": np.zeros(0, np.uint64)})

    def merge(self, rows: pa.Table) -> pa.Table:
        return pa.table(merge_sums(_columns(rows)))

    def finish(self, cell: Cell, rows: pa.Table) -> pa.Table:
        columns = _columns(rows)
        table = _places(cell, columns)
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
                    table[f"{prefix}_contrast_{diameter:g}um"] = columns[f"{number}:max_contrast_{index}"]
                if self.surround:
                    spread = columns[f"{number}:max_surround"].astype(np.float64) * step
                    table[f"{prefix}_surround"] = spread.astype(np.float32)
                number += 1
        return pa.table(table | {"cut": _is_cut(cell, table) | (columns["faces"] != 0)})


def _plain(name: str) -> str:
    return name.split("@")[0]


def _prefixes(name: str, channels: int) -> list[str]:
    return [name] if channels == 1 else [f"{name}_{channel}" for channel in range(channels)]


def _channels(image: Chunk) -> Iterator[npt.NDArray[Any]]:
    if image.array.ndim == 3:
        yield image.array
    else:
        yield from (image.array[..., channel] for channel in range(image.array.shape[3]))


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
