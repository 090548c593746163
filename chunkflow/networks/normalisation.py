"""Normalisation: grey values that differ from brain to brain become numbers that are alike.

1. A fixed sample of the whole volume gives the numbers that every chunk shares (`decide`).
2. A box is normalised from the window that it depends on (`window`, `apply`).

A voxel's value depends on the volume, its voxel size, the parameters and the shared numbers alone, to the
last bit: not on how the volume was cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from math import prod
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from chunkflow.geometry import Box, Vec, VoxelSize, vec
from chunkflow.kernels.images.equalisation import equalise, tiles_around, voxels_of_tiles
from chunkflow.kernels.images.gaussian import Span, gaussian_radius
from chunkflow.kernels.images.grey_values import in_units, mean_and_deviation, percentiles_of
from chunkflow.kernels.images.local_contrast import local_contrast
from chunkflow.kernels.images.noise import response_spread

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Numbers = Mapping[str, float]
Samples = Iterable[tuple[Array, Box, Box]]
"""Arrays, the windows that they fill, and the boxes of the sample, each within its window."""

SAMPLE_BOXES = 64
SAMPLE_VOXELS = 2**24
NORMAL_SPREAD = 1.4826
"""The standard deviation of a normal distribution, in median absolute deviations."""
WIDEST = 100_000
"""Micrometres."""
LEAST_TILE = 8
"""Voxels along each axis."""
BINNED = (0.1, 99.9)
"""The percentiles of the sample between which grey values are equalised."""


def sample_boxes(volume: Box) -> list[Box]:
    """The boxes of the sample, spread evenly over the volume; all of it where it is small."""
    if volume.voxels <= SAMPLE_VOXELS:
        return [volume]
    side, counts = _sample_side(volume.size), (1, 1, 1)
    while more := _one_more(counts, volume.size, side):
        counts = more
    side = _widened(side, counts, volume.size)
    boxes = []
    for k, j, i in product(*(range(count) for count in reversed(counts))):
        middle = (
            a + (2 * at + 1) * n // (2 * count)
            for a, n, count, at in zip(volume.start, volume.size, counts, (i, j, k), strict=True)
        )
        boxes.append(Box.of_size(side, vec(c - n // 2 for c, n in zip(middle, side, strict=True))))
    return boxes


def _sample_side(size: Vec) -> Vec:
    """A box of the sample: a cube, or longer where the volume is thin along another axis."""
    side, left = [0, 0, 0], SAMPLE_VOXELS // SAMPLE_BOXES
    for rank, axis in enumerate(sorted(range(3), key=lambda n: size[n])):
        side[axis] = min(size[axis], int(left ** (1 / (3 - rank)) + 1e-6))
        left //= side[axis]
    return vec(side)


def _one_more(counts: Vec, size: Vec, side: Vec) -> Vec | None:
    """One box more along the axis on which boxes are furthest apart, where there is room for it."""
    for axis in sorted(range(3), key=lambda n: -size[n] / counts[n]):
        more = vec(count + (n == axis) for n, count in enumerate(counts))
        if more[0] * more[1] * more[2] <= SAMPLE_BOXES and more[axis] * side[axis] <= size[axis]:
            return more
    return None


def _widened(side: Vec, counts: Vec, size: Vec) -> Vec:
    """A longer box where there is no room for 64, so that the sample has no fewer voxels."""
    for axis in sorted(range(3), key=lambda n: size[n]):
        others = prod(n for at, n in enumerate(side) if at != axis)
        room = SAMPLE_VOXELS // (prod(counts) * others)
        longer = max(side[axis], min(room, size[axis] // counts[axis]))
        side = vec(longer if at == axis else n for at, n in enumerate(side))
    return side


class Normaliser(BaseModel, ABC):
    """The normalisation of an image of one channel: numbers decided once, applied to any box."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def window(self, box: Box, volume: Box, voxel_size: VoxelSize) -> Box:
        """The voxels that those of `box` depend on, clipped to the volume; each axis by itself."""
        return box.clip(volume)

    @abstractmethod
    def decide(self, samples: Samples, volume: Box, voxel_size: VoxelSize) -> dict[str, float]:
        """The numbers that all boxes of a volume share, from the boxes of its sample."""

    @abstractmethod
    def unit(self, numbers: Numbers) -> float:
        """The difference that becomes 1, as `decide` found it; 0 where the sample has no contrast."""

    def apply(
        self,
        array: Array,
        window: Box,
        box: Box,
        volume: Box,
        voxel_size: VoxelSize,
        numbers: Numbers,
    ) -> Floats:
        """The normalised voxels of `box`, in Fortran order.

        `array` fills `window`, which holds all of `self.window(box, …)`. Where the sample has no contrast all
        is 0.
        """
        needed = self.window(box, volume, voxel_size)
        part = _numbers_within(array, window, needed)
        if not self.unit(numbers):
            return np.zeros(box.size, np.float32, order="F")
        return self._of(part, numbers, box, volume, voxel_size)

    @abstractmethod
    def _of(self, part: Array, numbers: Numbers, box: Box, volume: Box, voxel_size: VoxelSize) -> Floats:
        """The normalised voxels of `box`; `part` is exactly the window that they depend on."""


class Percentiles(Normaliser):
    """Count grey values from one percentile of the sample, in units of its distance to another.

    Values outside of the two become less than 0 and more than 1.
    """

    kind: Literal["percentiles"] = "percentiles"
    low: float = Field(1.0, ge=0, le=100, description="the percentile of the sample that becomes 0")
    high: float = Field(99.0, ge=0, le=100, description="the percentile of the sample that becomes 1")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(
                f"`low` must be less than `high`, but {self.low:g} is not less than {self.high:g}"
            )
        return self

    def decide(self, samples: Samples, volume: Box, voxel_size: VoxelSize) -> dict[str, float]:
        low, high = percentiles_of(_together(_sampled(samples)), (self.low, self.high))
        return {"low": low, "high": high}

    def unit(self, numbers: Numbers) -> float:
        return numbers["high"] - numbers["low"]

    def _of(self, part: Array, numbers: Numbers, box: Box, volume: Box, voxel_size: VoxelSize) -> Floats:
        return in_units(part, numbers["low"], self.unit(numbers))


class ZScore(Normaliser):
    """Count grey values from the mean of the sample, in units of its standard deviation."""

    kind: Literal["zscore"] = "zscore"

    def decide(self, samples: Samples, volume: Box, voxel_size: VoxelSize) -> dict[str, float]:
        mean, deviation = mean_and_deviation(list(_sampled(samples)))
        return {"mean": mean, "deviation": deviation}

    def unit(self, numbers: Numbers) -> float:
        return numbers["deviation"]

    def _of(self, part: Array, numbers: Numbers, box: Box, volume: Box, voxel_size: VoxelSize) -> Floats:
        return in_units(part, numbers["mean"], numbers["deviation"])


class LocalContrast(Normaliser):
    """Take the logarithm less its Gaussian background, in units of its spread in the sample.

    The logarithm is log(1 + x); of grey values below 0 it is 0. The unit is 1.4826 median absolute deviations
    of the difference: the standard deviation, were it normally distributed. Voxels of 0 and less, as outside
    of what was imaged, are left out of the sample: where they are more than half, nothing would vary.
    """

    kind: Literal["local"] = "local"
    background: float = Field(
        20.0,
        gt=0,
        le=WIDEST,
        description="standard deviation of the Gaussian that gives the background, micrometres",
    )

    def window(self, box: Box, volume: Box, voxel_size: VoxelSize) -> Box:
        return box.grow(gaussian_radius(self._sigma(voxel_size))).clip(volume)

    def decide(self, samples: Samples, volume: Box, voxel_size: VoxelSize) -> dict[str, float]:
        found = []
        for array, window, box in samples:
            needed = self.window(box, volume, voxel_size)
            part = _numbers_within(array, window, needed)
            contrast = self._contrast(part, needed, box, voxel_size)
            found.append(contrast[part[box.slices(needed.start)] > 0])
        contrasts = _together(found)
        return {"deviation": NORMAL_SPREAD * response_spread(contrasts) if contrasts.size else 0.0}

    def unit(self, numbers: Numbers) -> float:
        return numbers["deviation"]

    def _of(self, part: Array, numbers: Numbers, box: Box, volume: Box, voxel_size: VoxelSize) -> Floats:
        window = self.window(box, volume, voxel_size)
        return in_units(self._contrast(part, window, box, voxel_size), 0.0, numbers["deviation"])

    def _contrast(self, part: Array, window: Box, box: Box, voxel_size: VoxelSize) -> Floats:
        keep = [(axis.start, axis.stop) for axis in box.slices(window.start)]
        return local_contrast(part, self._sigma(voxel_size), keep)

    def _sigma(self, voxel_size: VoxelSize) -> tuple[float, float, float]:
        x, y, z = (self.background * 1000 / size for size in voxel_size)
        return x, y, z


class Clahe(Normaliser):
    """Equalise histograms of tiles, contrast limited (CLAHE), to values from 0 to 1.

    Grey values between the percentiles 0.1 and 99.9 of the sample fall into 256 bins. Tiles are counted from
    absolute voxel 0, and have at least 8 voxels along each axis; between their centres the curves of the
    nearest eight are mixed.
    """

    kind: Literal["clahe"] = "clahe"
    tile: float = Field(100.0, gt=0, le=WIDEST, description="side of a tile, micrometres")
    limit: float = Field(
        0.01, gt=0, le=1, description="greatest share of a tile's voxels that one of 256 bins keeps"
    )

    def window(self, box: Box, volume: Box, voxel_size: VoxelSize) -> Box:
        ends = [
            voxels_of_tiles(tiles_around(span, whole, side), whole, side)
            for span, whole, side in zip(_spans(box), _spans(volume), self._tile(voxel_size), strict=True)
        ]
        return Box(vec(start for start, _ in ends), vec(stop for _, stop in ends))

    def decide(self, samples: Samples, volume: Box, voxel_size: VoxelSize) -> dict[str, float]:
        low, high = percentiles_of(_together(_sampled(samples)), BINNED)
        return {"low": low, "high": high}

    def unit(self, numbers: Numbers) -> float:
        return numbers["high"] - numbers["low"]

    def _of(self, part: Array, numbers: Numbers, box: Box, volume: Box, voxel_size: VoxelSize) -> Floats:
        window, tile = self.window(box, volume, voxel_size), self._tile(voxel_size)
        greys = (numbers["low"], numbers["high"])
        return equalise(part, _spans(window), _spans(box), _spans(volume), tile, greys, self.limit)

    def _tile(self, voxel_size: VoxelSize) -> Vec:
        return vec(max(round(self.tile * 1000 / size), LEAST_TILE) for size in voxel_size)


Normalisation = Annotated[Percentiles | ZScore | LocalContrast | Clahe, Field(discriminator="kind")]
"""Any of them, told apart by `kind`."""


def _spans(box: Box) -> list[Span]:
    return list(zip(box.start, box.stop, strict=True))


def _sampled(samples: Samples) -> Iterator[Array]:
    for array, window, box in samples:
        yield _numbers_within(array, window, box).copy(order="F")


def _together(parts: Iterable[Array]) -> Array:
    return np.concatenate([part.ravel(order="K") for part in parts])


def _numbers_within(array: Array, window: Box, box: Box) -> Array:
    """The part of an array that fills `window`; all of it must be numbers."""
    if not window.contains(box):
        raise ValueError(f"the window {window} lacks some of {box}")
    part = array[box.slices(window.start)]
    if part.dtype.kind == "f" and not np.isfinite(part).all():
        raise ValueError(f"the image has voxels that are not numbers within {box}")
    return part
