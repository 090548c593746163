"""The document of a model file: what a network takes, what it gives, and how it was made.

It is data alone: an architecture's name and its numbers, never code, and keys that are not known are refused.
Axes are x, y, z in all of it.
"""

from __future__ import annotations

import json
from math import isfinite, prod
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from chunkflow.data.documents import first_fault
from chunkflow.errors import BadInput
from chunkflow.networks.normalisation import Normalisation
from chunkflow.networks.placement import largest_weight

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
Size = Annotated[int, Field(ge=1, le=4096)]
Nanometres = Annotated[float, Field(gt=0, le=1e9)]
Shift = Annotated[int, Field(ge=-4096, le=4096)]
Grey = Annotated[float, Field(ge=-1e30, le=1e30)]
MOST_VOXELS = 2**28
"""Of a patch."""
DEEPEST = 8
"""How deep lists and tables may lie in each other among the parameters of an architecture."""
ONNX = "onnx"
"""The architecture of a model that is kept as an ONNX graph."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputChannel(_Strict):
    """One channel that a network takes: one channel of an image, normalised."""

    image: int = Field(0, ge=0, le=63, description="which of the images that are given, from 0")
    channel: int = Field(0, ge=0, le=65_535, description="which channel of that image, from 0")
    normalise: Normalisation


class NetworkInput(_Strict):
    """What a network takes."""

    channels: tuple[InputChannel, ...] = Field(min_length=1, max_length=64)
    voxel_size: tuple[Nanometres, Nanometres, Nanometres] = Field(description="nanometres")

    @property
    def images(self) -> int:
        """How many images are to be given."""
        return 1 + max(channel.image for channel in self.channels)


class NetworkOutput(_Strict):
    """One channel that a network gives."""

    name: Name
    kind: Literal["probability", "class", "affinity", "image"]
    """`class`: those of this kind add up to 1; `affinity`: with the voxel at `offset`; `image`: grey
    values."""
    offset: tuple[Shift, Shift, Shift] | None = None
    range: tuple[Grey, Grey] = (0.0, 1.0)
    """The values of an image that are stored; what lies beyond is clipped."""
    threshold: float | None = None
    """Where training chose one."""

    @property
    def taken_from(self) -> float:
        """From which probability on it is there: the threshold, or a half where none was chosen."""
        return 0.5 if self.threshold is None else self.threshold

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.kind == "affinity") != (self.offset is not None):
            raise ValueError("an affinity has an offset in voxels, and nothing else has one")
        if self.kind != "image" and self.range != (0.0, 1.0):
            raise ValueError("only an image has a range other than 0 to 1")
        if not self.range[0] < self.range[1]:
            raise ValueError("a range goes from a number to a larger one")
        return self


class Making(_Strict):
    """How a model was made, as far as it is known."""

    seed: int | None = None
    steps: int | None = None
    data: str = ""
    """A fingerprint of the data that it learnt from."""
    training: str = ""
    """The same for the same recipe and data."""
    versions: dict[str, str] = Field(default_factory=dict)
    scores: dict[str, float] = Field(default_factory=dict)


class ModelDocument(_Strict):
    """What a network takes, what it gives, and how it was made."""

    architecture: Name
    parameters: dict[str, Any] = Field(default_factory=dict)
    input: NetworkInput
    patch: tuple[Size, Size, Size] = Field(description="voxels that the network takes at a time")
    overlap: tuple[int, int, int] = Field(description="voxels that neighbouring patches share")
    outputs: tuple[NetworkOutput, ...] = Field(min_length=1, max_length=256)
    activated: bool = False
    """The network gives probabilities itself; else a sigmoid, or over classes a softmax, makes them."""
    memory: int = Field(0, ge=0, lt=2**62)
    """Bytes that one patch takes within the network in single precision, at most at a time."""
    made: Making = Making()

    @field_validator("parameters")
    @classmethod
    def _is_data(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not _is_plain(value, DEEPEST):
            raise ValueError(
                f"numbers, texts, lists and tables, at most {DEEPEST} in each other, and no more"
            )
        plain: dict[str, Any] = json.loads(json.dumps(value))  # tuples are lists, as they are read again
        return plain

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(not 0 <= o < p for o, p in zip(self.overlap, self.patch, strict=True)):
            raise ValueError("an overlap is at least 0 and smaller than the patch on each axis")
        if prod(self.patch) > MOST_VOXELS:
            raise ValueError(f"a patch has at most {MOST_VOXELS:,} voxels, not {prod(self.patch):,}")
        largest_weight(self.patch, self.overlap)
        names = [output.name for output in self.outputs]
        if len(set(names)) < len(names):
            raise ValueError(f"outputs have names of their own, not {names}")
        return self

    @property
    def indexes_of_classes(self) -> list[int]:
        """The outputs that add up to 1."""
        return [i for i, output in enumerate(self.outputs) if output.kind == "class"]

    @classmethod
    def parse(cls, document: object, path: object) -> ModelDocument:
        """The document of the file `path`; BadInput says what is wrong with it."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise BadInput(f"{path} is no model: {first_fault(error, cls)}") from error


def _is_plain(value: Any, deep: int) -> bool:
    """Whether JSON can say a value, and every reader of it agrees."""
    if isinstance(value, dict | list | tuple):
        inside = value.values() if isinstance(value, dict) else value
        return deep > 0 and all(_is_plain(one, deep - 1) for one in inside)
    if isinstance(value, str):
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    return value is None or (isinstance(value, int | float) and abs(value) < 2**63 and isfinite(value))
