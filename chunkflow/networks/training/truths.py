"""Truth that a network learns from: what files and layers hold, and the outputs that it makes of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from chunkflow.geometry import Box, VoxelSize
from chunkflow.networks.document import Name, NetworkOutput

Floats = npt.NDArray[np.float64]
Micrometres = Annotated[float, Field(gt=0, le=100_000)]
REACH = 3.0
"""Standard deviations after which a Gaussian at a point is 0."""


class _Kind(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CellsTruth(_Kind):
    """Cells marked as points, whatever the network makes of them."""

    name: Name = Field("cell", description="the name of the output")
    of_class: str = Field("", description="take the points of this class alone, from the column `class`")
    unit: Literal["", "voxels", "um", "nm", "mm"] = Field("", description="of places, where files do not say")
    diameter: Micrometres = Field(8.0, description="of a cell, micrometres")
    tolerance: Micrometres = Field(10.0, description="how far a cell found may be from a point, micrometres")

    @property
    def outputs(self) -> tuple[NetworkOutput, ...]:
        """The outputs of the network, in their order."""
        return (NetworkOutput(name=self.name, kind="probability"),)


class PointsTruth(CellsTruth):
    """The network learns a heatmap, 1 at each point.

    It falls as a Gaussian whose standard deviation is half a diameter.
    """

    kind: Literal["points"] = "points"


class CandidatesTruth(CellsTruth):
    """The network learns to judge the patch around a candidate: whether a cell is at its middle.

    It is asked about what `segment` found, so it learns from that: candidates paired with a point are cells,
    those near no point are none.
    """

    kind: Literal["candidates"] = "candidates"


class LabelsTruth(_Kind):
    """Objects drawn as labels: the network learns where any of them is."""

    kind: Literal["labels"] = "labels"
    name: Name = Field("object", description="the name of the output")

    @property
    def outputs(self) -> tuple[NetworkOutput, ...]:
        """The outputs of the network, in their order."""
        return (NetworkOutput(name=self.name, kind="probability"),)


class ClassesTruth(_Kind):
    """Voxels painted by class: the network learns which of them each voxel is."""

    kind: Literal["classes"] = "classes"
    names: dict[Annotated[int, Field(ge=0, lt=2**16)], Name] = Field(
        min_length=2,
        max_length=256,
        description="the class of each value, as 1: membrane; voxels of other values do not count",
    )

    @field_validator("names")
    @classmethod
    def _told_apart(cls, value: dict[int, str]) -> dict[int, str]:
        if len(set(value.values())) < len(value):
            raise ValueError("each class has a name of its own")
        return value

    @property
    def outputs(self) -> tuple[NetworkOutput, ...]:
        """The outputs of the network, in their order."""
        return tuple(NetworkOutput(name=name, kind="class") for name in self.names.values())


LearntTruth = Annotated[
    PointsTruth | CandidatesTruth | LabelsTruth | ClassesTruth, Field(discriminator="kind")
]
"""Any of them, told apart by `kind`."""
NO_CLASS = 2**16 - 1
"""Stands for voxels whose value is no class."""


def class_numbers(truth: ClassesTruth, labels: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """The index of each voxel's class among the outputs; NO_CLASS where its value is none."""
    values = np.array(sorted(truth.names), np.int64)
    indexes = np.array([list(truth.names).index(int(value)) for value in values], np.uint16)
    at = np.searchsorted(values, labels).clip(max=len(values) - 1)
    return np.where(values[at] == labels, indexes[at], np.uint16(NO_CLASS))


def heat_of_points(
    points: Floats, box: Box, voxel_size: VoxelSize, diameter: float
) -> npt.NDArray[np.float32]:
    """The heatmap over a box: the largest of the Gaussians at all points; places are continuous voxels."""
    sigma = np.array([diameter * 500 / size for size in voxel_size])
    heat = np.zeros(box.size, np.float32)
    reach = REACH * sigma
    near = ((points > box.start - reach) & (points < box.stop + reach)).all(axis=1)
    for point in points[near]:
        first = np.maximum(np.floor(point - reach).astype(int), box.start)
        last = np.minimum(np.ceil(point + reach).astype(int), box.stop)
        axes = [
            np.exp(-0.5 * ((np.arange(a, b) + 0.5 - p) / s) ** 2)
            for a, b, p, s in zip(first, last, point, sigma, strict=True)
        ]
        ball = (axes[0][:, None, None] * axes[1][:, None] * axes[2]).astype(np.float32)
        ball[ball < np.exp(-0.5 * REACH**2)] = 0
        part = heat[tuple(slice(a, b) for a, b in zip(first - box.start, last - box.start, strict=True))]
        np.maximum(part, ball, out=part)
    return heat
