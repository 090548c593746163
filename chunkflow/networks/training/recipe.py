"""The recipe of a network: what it is, what it learns from, and how; strict data, written in YAML.

Axes are x, y, z in all of it; boxes are in voxels of the images, as 0-256,0-256,0-64.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from chunkflow.data.documents import first_fault, read_document
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, vec
from chunkflow.networks.document import Making, ModelDocument, Name, NetworkInput, Size
from chunkflow.networks.judging import PATCHES, field_of
from chunkflow.networks.models.named import is_name, model_path
from chunkflow.networks.training.truths import CandidatesTruth, LearntTruth

KEYS = "architecture, input, patch, truth and volumes"


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _a_box(text: str) -> str:
    if Box.parse(text).empty:
        raise ValueError("each range of a box goes from a smaller to a larger number")
    return text


def _all_or_boxes(texts: tuple[str, ...]) -> tuple[str, ...]:
    return texts if texts == WHOLE else tuple(map(_a_box, texts))


Places = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
BoxText = Annotated[str, AfterValidator(_a_box)]
Boxes = Annotated[tuple[BoxText, ...], BeforeValidator(_as_list)]
WHOLE = ("all",)
Portion = Annotated[float, Field(ge=0, le=1)]


class _RecipePart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LearntVolume(_RecipePart):
    """Images, and what is true of them."""

    images: Places = Field(min_length=1, description="layers, in the order of `input`; PATH@MIP is a mip")
    truth: str = Field(description="a file of points, or a layer of labels or classes")
    candidates: str = Field("", description="a file of points that the network is asked about, cells or none")
    annotated: str = Field("", description="a layer of labels: where it is 0, nothing counts")
    boxes: Boxes = Field((), description="only what lies in one of these boxes counts")
    validation: Annotated[Places, AfterValidator(_all_or_boxes)] = Field(
        (), description="boxes that are not learnt from: they say when to stop; all: the whole volume"
    )
    held_out: Boxes = Field((), description="boxes that nothing is learnt from, nor decided by")
    again: str = Field("", description="a file of points that half of the rare examples are taken around")

    def located(self, base: Path) -> Self:
        """The same with whole paths, which count from the folder `base`."""
        files = {name: getattr(self, name) for name in ("truth", "candidates", "annotated", "again")}
        whole = {name: _whole(file, base) for name, file in files.items() if file}
        images = tuple(_whole(place, base) for place in self.images)
        return self.model_copy(update={"images": images, **whole})


class Augmentation(_RecipePart):
    """How examples are varied, so that the network learns what does not change with it."""

    flips: bool = Field(True, description="turn each axis over, half of the time")
    turns: bool = Field(True, description="turn by right angles among axes of equal voxels")
    elastic: float = Field(0.0, ge=0, le=1000, description="standard deviation of displacements, micrometres")
    spacing: float = Field(40.0, gt=0, le=100_000, description="how far apart they vary, micrometres")
    gain: float = Field(1.5, ge=1, le=100, description="contrast changes by up to this factor")
    offset: float = Field(0.2, ge=0, le=100, description="brightness changes by up to this")
    slope: float = Field(0.0, ge=0, le=100, description="brightness that changes through a patch, up to this")
    noise: float = Field(0.1, ge=0, le=100, description="standard deviation of noise, up to this")
    blur: float = Field(0.0, ge=0, le=20, description="standard deviation of blur in voxels, up to this")
    missing: Portion = Field(0.0, description="how often one section (z) is black")
    shifted: Portion = Field(0.0, description="how often one section (z) is out of place")


class NetworkRecipe(_RecipePart):
    """How a network is trained."""

    architecture: Name
    parameters: dict[str, Any] = Field(default_factory=dict)
    input: NetworkInput
    patch: tuple[Size, Size, Size]
    overlap: tuple[int, int, int] | None = Field(None, description="left out: half of the patch")
    truth: LearntTruth
    volumes: tuple[LearntVolume, ...] = Field(min_length=1, max_length=1000)
    resample: bool = Field(False, description="interpolate images of other voxels to the size in `input`")
    augment: Augmentation = Field(default_factory=lambda: Augmentation.model_validate({}))
    loss: Literal["cross-entropy", "dice", "both"] = "cross-entropy"
    balance: Portion = Field(0.5, description="outputs weigh by their rarity to this power: 0, all the same")
    rare: Portion = Field(0.5, description="the share of patches that are taken around what is rare")
    steps: int = Field(1000, ge=1, le=10_000_000)
    batch: int = Field(4, ge=1, le=4096)
    rate: float = Field(0.015, gt=0, le=10, description="the highest of the one-cycle schedule")
    decay: float = Field(0.01, ge=0, le=1, description="weight decay")
    mean: float = Field(0.99, ge=0, lt=1, description="decay of the running mean of weights, which is kept")
    every: int = Field(50, ge=1, description="steps between two looks at the validation")
    patience: int = Field(6, ge=1, description="looks without a better score, after which training stops")
    seed: int = Field(0, ge=0, lt=2**32)
    threads: int = Field(1, ge=1, le=256)
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    start: str = Field(
        "", description="a model file whose weights are begun with, or the name of a model that comes along"
    )
    freeze: tuple[str, ...] = Field(
        (), description="weights whose names begin so stay as they are, as down.0"
    )

    @field_validator("volumes")
    @classmethod
    def _learns_something(cls, value: tuple[LearntVolume, ...]) -> tuple[LearntVolume, ...]:
        if all(volume.validation == WHOLE for volume in value):
            raise ValueError("all volumes are for validation, and none is left to learn from")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for number, volume in enumerate(self.volumes):
            if len(volume.images) != self.input.images:
                raise ValueError(
                    f"volumes.{number}: the network takes {self.input.images} images, "
                    f"and {len(volume.images)} are given"
                )
            if bool(volume.candidates) != self.judges:
                raise ValueError(f"volumes.{number}: {_of_candidates(self.judges)}")
        if self.judges and self.architecture != PATCHES:
            raise ValueError(f"candidates are judged by the architecture {PATCHES}, not {self.architecture}")
        if self.judges and self.batch < 2:
            raise ValueError("candidates are compared with each other: batch is at least 2 of them")
        if self.freeze and not self.start:
            raise ValueError("freeze keeps weights of the model `start`: give that too")
        assert self.document  # refuses what no model file may say
        return self

    @property
    def document(self) -> ModelDocument:
        """What the model file says, but for how it was made."""
        return ModelDocument(
            architecture=self.architecture,
            parameters=self.parameters,
            input=self.input,
            patch=self.patch,
            overlap=self.overlap or self._half,
            outputs=self.truth.outputs,
            made=Making(seed=self.seed, steps=self.steps),
            memory=0,
        )

    @property
    def places(self) -> tuple[str, ...]:
        """All files and layers that are read."""
        given = [(*v.images, v.truth, v.candidates, v.annotated, v.again) for v in self.volumes]
        started = str(model_path(self.start)) if self.start else ""
        return tuple(place for place in (*itertools.chain(*given), started) if place)

    @property
    def judges(self) -> bool:
        """Whether the network learns to judge candidates."""
        return isinstance(self.truth, CandidatesTruth)

    @property
    def learnt_patch(self) -> Vec:
        """The sides of what the network sees at once while it learns."""
        return field_of(self.document, "The recipe") if self.judges else self.patch

    @property
    def _half(self) -> Vec:
        return vec(side // 2 for side in self.patch)

    @property
    def fingerprint(self) -> str:
        """The same for the same recipe."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    @classmethod
    def of(cls, document: object, base: Path, said: object = "The recipe") -> Self:
        """The recipe that a document says; its paths count from the folder `base`."""
        try:
            recipe = cls.model_validate(document)
        except ValidationError as error:
            raise BadInput(f"{said}: {first_fault(error, cls)}") from error
        located: dict[str, Any] = {"volumes": tuple(volume.located(base) for volume in recipe.volumes)}
        if recipe.start:
            located["start"] = _whole_model(recipe.start, base)
        return recipe.model_copy(update=located)


def read_recipe(path: str | Path) -> NetworkRecipe:
    """The recipe in a YAML file, whose paths count from it.

    >>> read_recipe(folder / "cells.yaml").architecture
    'unet'
    """
    path = Path(path).absolute()
    return NetworkRecipe.of(read_document(path, "recipe", KEYS), path.parent, path)


def _of_candidates(needed: bool) -> str:
    if needed:
        return "the truth is of candidates, and there are none: give a file of points as `candidates`"
    return "`candidates` go with a truth of the kind candidates"


def _whole(place: str, base: Path) -> str:
    return place if "://" in place else str(base / Path(place).expanduser())


def _whole_model(place: str, base: Path) -> str:
    if not is_name(place):
        return _whole(place, base)
    model_path(place)  # refuses what does not come along
    return place
