"""Normalise: grey values that differ from brain to brain become numbers that are alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, ValidationError, model_validator

from chunkflow.chunk import Chunk
from chunkflow.data.documents import first_fault
from chunkflow.data.info import LayerInfo
from chunkflow.geometry import Box
from chunkflow.networks.normalisation import (
    WIDEST,
    Clahe,
    LocalContrast,
    Normaliser,
    Percentiles,
    ZScore,
    sample_boxes,
)
from chunkflow.task import Cell, Image, Layout, Out, Task

KINDS: dict[str, type[Normaliser]] = {
    "local": LocalContrast,
    "percentiles": Percentiles,
    "zscore": ZScore,
    "clahe": Clahe,
}
NO_CONTRAST = (
    "the sample of {image} has no contrast, so that all of {normalised} is 0: look at the image, "
    "or take another `kind`"
)


class Normalise(Task):
    """Make an image of float32 whose grey values are alike in every brain.

    `local` takes the logarithm less its Gaussian background, in units of how much that varies: it evens out
    light and staining, and what cells are to their surroundings is the same number everywhere. `percentiles`
    counts from one percentile, in units of its distance to another; `zscore` counts from the mean, in
    standard deviations. `clahe` equalises the histograms of tiles, contrast limited, to values from 0 to 1.

    The percentiles, the mean and the units are decided once for the whole volume, from a sample of it, and
    recorded. Each voxel is the same to the last bit however the volume is cut.
    """

    working_bytes: ClassVar[float] = 16.0

    image: Image = Field(description="the image")
    normalised: Image = Out("the normalised image, float32")
    kind: Literal["local", "percentiles", "zscore", "clahe"] = Field(
        "local", description="how it is normalised: local, percentiles, zscore or clahe"
    )
    background: float | None = Field(
        None,
        gt=0,
        le=WIDEST,
        description="of `local`: standard deviation of the Gaussian that gives the background, micrometres; "
        "20 if left out",
    )
    low: float | None = Field(
        None,
        ge=0,
        le=100,
        description="of `percentiles`: the percentile of the sample that becomes 0; 1 if left out",
    )
    high: float | None = Field(
        None,
        ge=0,
        le=100,
        description="of `percentiles`: the percentile of the sample that becomes 1; 99 if left out",
    )
    tile: float | None = Field(
        None, gt=0, le=WIDEST, description="of `clahe`: side of a tile, micrometres; 100 if left out"
    )
    limit: float | None = Field(
        None,
        gt=0,
        le=1,
        description="of `clahe`: greatest share of a tile's voxels that one of 256 bins keeps; "
        "0.01 if left out",
    )
    channel: int = Field(0, ge=0, description="which channel, where the image has several")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for kind, its in KINDS.items():
            for name in its.model_fields:
                if name != "kind" and kind != self.kind and getattr(self, name) is not None:
                    raise ValueError(f"`{name}` is a parameter of {kind}, not of {self.kind}: leave it out")
        try:
            _ = self.normaliser
        except ValidationError as error:
            raise ValueError(first_fault(error, KINDS[self.kind]).rstrip(".")) from error
        return self

    @cached_property
    def normaliser(self) -> Normaliser:
        """The normalisation that the parameters ask for."""
        given = {name: getattr(self, name) for name in KINDS[self.kind].model_fields}
        return KINDS[self.kind](**{name: value for name, value in given.items() if value is not None})

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        layout.refuse_channel("normalise", "image", self.image, self.channel)
        return {"normalised": layout.main.as_image("float32", 1)}

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [self.normaliser.window(box, layout.main.volume, layout.main.voxel_size)]

    def samples(self, layout: Layout) -> list[tuple[str, Box]]:
        return [
            ("image", window)
            for box in sample_boxes(layout.main.volume)
            for window in self.reads("image", box, layout)
        ]

    def prepare(self, layout: Layout, samples: Iterable[Chunk | pa.Table]) -> dict[str, Any]:
        volume, voxel_size = layout.main.volume, layout.main.voxel_size
        read = (
            (self._channel(chunk), chunk.box, box)
            for box, chunk in zip(sample_boxes(volume), samples, strict=True)
        )
        numbers: dict[str, Any] = self.normaliser.decide(read, volume, voxel_size)
        if self.normaliser.unit(numbers):
            return numbers
        return numbers | {"warning": NO_CONTRAST.format(image=self.image, normalised=self.normalised)}

    def map(self, cell: Cell, image: Chunk) -> Chunk:
        array = self.normaliser.apply(
            self._channel(image), image.box, cell.box, cell.volume, image.voxel_size, cell.values
        )
        return Chunk(array, cell.box, image.voxel_size)

    def _channel(self, image: Chunk) -> npt.NDArray[Any]:
        return image.array if image.array.ndim == 3 else image.array[..., self.channel]
