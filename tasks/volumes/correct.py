"""Uneven light: an image divided by the smooth field by which it is too bright or too dark.

1. `average` makes the image small: means of blocks that are counted from voxel 0.
2. `fit` finds the field in one cell, from all of the small image, and draws it for the report.
3. `divide` divides each chunk by the field, interpolated at the places of its voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, vec
from chunkflow.kernels.illumination.field_division import divide, field_places, field_range
from chunkflow.task import Cell, Image, Labels, Layout, Out, Report, Task
from chunkflow.words import split_mip
from tasks.volumes.light_field import AverageImage, FitField

FITTED = ("mask", "fitted", "report", "channel", "levels", "iterations")
"""Parameters that mean nothing where a field is given."""


class Correct(Task):
    """Divide `image` by the smooth field of light that makes it uneven.

    The field is fitted by N4 (the extra `correct` brings SimpleITK) to the whole image, averaged to at most
    half a million voxels, whatever part of it is made. It is fitted where the averaged image is brighter
    than its background (Otsu's threshold of the logarithm; everywhere where nothing stands out as
    background), or where `mask` is not 0 in at least half of an averaged voxel. Its natural logarithm, of
    mean 0 there, is kept as a layer of float32.

    With `field` nothing is fitted: channels share the field of one, or a field is used that was fitted to a
    coarser mip. Values keep their type; whole numbers are rounded half up.
    """

    image: Image = Field(description="the image, name or name@mip")
    corrected: Image = Out("the image in even light")
    field: Image = Field(
        "", description="a field to divide by, as another `correct` has fitted it: CORRECTED.field"
    )
    mask: Labels = Field("", description="where to fit: labels that are not 0 in tissue, of any voxel size")
    fitted: Image = Out(
        "the field, in the work folder unless the job has a layer of this name; by default CORRECTED.field",
        in_work=True,
    )
    report: Report = Out("a picture of the field, and of the image before and after")
    dark: float = Field(
        0.0,
        ge=0,
        description="what the camera shows without light, taken off before and put back after; grey values",
    )
    channel: int = Field(
        0, ge=0, description="which channel to fit, where the image has several; all are divided"
    )
    levels: int = Field(
        3,
        ge=1,
        le=6,
        description="how fine the field may be: at the first its control points are as far apart as the "
        "image is long, along each axis, and at each further level half as far",
    )
    iterations: int = Field(100, ge=1, le=1000, description="at each level, at most")

    @model_validator(mode="after")
    def _fits_or_not(self) -> Self:
        given = [name for name in FITTED if name in self.model_fields_set and getattr(self, name)]
        if self.field and given:
            raise ValueError(f"{given[0]}: nothing is fitted where a field is given; leave out one of both")
        return self

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        if not self.corrected:
            raise BadInput("correct: name a layer of the job for the corrected image: `corrected`.")
        fitted = self.fitted or f"{split_mip(self.corrected)[0]}.field"
        divided: dict[str, Any] = {"image": self.image, "corrected": self.corrected, "dark": self.dark}
        divide_step = ("divide", DivideByField(field=self.field or fitted, **divided))
        if self.field:
            return [divide_step]
        averages = f"{fitted}.averages"
        fit: dict[str, Any] = {"levels": self.levels, "iterations": self.iterations, "dark": self.dark}
        fit |= {"averages": averages, "fitted": fitted, "report": self.report, "masked": bool(self.mask)}
        average = AverageImage(image=self.image, mask=self.mask, averages=averages, channel=self.channel)
        return [("average", average), ("fit", FitField(**fit, source=self.image)), divide_step]


class DivideByField(Task):
    """The image divided by the field."""

    same_voxels: ClassVar[bool] = False
    working_bytes: ClassVar[float] = 4.0

    image: Image
    field: Image
    corrected: Image = Out()
    dark: float

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        image, field = layout.images("image")[0], layout.images("field")[0]
        if field.channels != 1 or np.dtype(field.dtype).kind != "f":
            raise BadInput(
                f"correct: {self.field} is no field: it has {field.channels} channels of {field.dtype}, not "
                "one of float32."
            )
        for axis in range(3):
            start, stop = (
                end[axis] * image.voxel_size[axis] for end in (image.volume.start, image.volume.stop)
            )
            first, last = (
                end[axis] * field.voxel_size[axis] for end in (field.volume.start, field.volume.stop)
            )
            if start < first or stop > last:
                raise BadInput(
                    f"correct: along {'xyz'[axis]} the field {self.field} covers {first:g} to {last:g} nm, "
                    f"and {self.image} {start:g} to {stop:g} nm: it must cover all of it."
                )
        return {"corrected": image.as_image()}

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        if field == "image":
            return [box]
        sizes = zip(
            box.start, box.stop, layout.info("image").voxel_size, layout.info("field").voxel_size, strict=True
        )
        ends = [field_range(*axis) for axis in sizes]
        return [Box(vec(first for first, _ in ends), vec(last for _, last in ends))]

    def map(self, cell: Cell, image: Chunk, field: Chunk) -> Chunk:
        whole = cell.layout.info("field").volume
        x, y, z = (
            field_places(
                image.box.start[axis],
                image.box.stop[axis],
                image.voxel_size[axis],
                field.voxel_size[axis],
                (field.box.start[axis], field.box.stop[axis]),
                (whole.start[axis], whole.stop[axis]),
            )
            for axis in range(3)
        )
        return image.like(divide(image.array, field.array, (x, y, z), self.dark))
