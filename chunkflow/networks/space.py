"""The voxels that a network works on: an image's own, or those that it is resampled to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, VoxelSize, vec
from chunkflow.kernels.images.resampling import interpolate, nearest, span_between

TOLERANCE = 0.15
"""How far a voxel may be from the size that a network has learnt at, on each axis."""
EXACT = 1e-6


@dataclass(frozen=True)
class Space:
    """Where the voxels of a network lie in those of the images that it is given."""

    images: Box
    """The volume of the images."""
    volume: Box
    """The same volume in the network's voxels."""
    voxel_size: VoxelSize
    ratios: tuple[float, float, float]
    """How many times as large the network's voxels are as those of the images."""

    @property
    def resampled(self) -> bool:
        return self.ratios != (1.0, 1.0, 1.0)

    @classmethod
    def of(cls, volume: Box, given: VoxelSize, wanted: VoxelSize, resample: bool) -> Space:
        """The voxels of images of `given` size for a network that learnt at `wanted`; its own are kept where
        nothing is resampled."""
        x, y, z = (w / g for w, g in zip(wanted, given, strict=True))
        if not resample or all(abs(ratio - 1) < EXACT for ratio in (x, y, z)):
            return cls(volume, volume, given, (1.0, 1.0, 1.0))
        ratios = (x, y, z)
        start = vec(floor(a / r + EXACT) for a, r in zip(volume.start, ratios, strict=True))
        stop = vec(ceil(b / r - EXACT) for b, r in zip(volume.stop, ratios, strict=True))
        return cls(volume, Box(start, stop), wanted, ratios)

    def read(self, box: Box) -> Box:
        """The voxels of the images that `box` needs, within their volume."""
        if not self.resampled:
            return box.clip(self.images)
        spans = [
            span_between((a, b), ratio, (first, last))
            for a, b, ratio, first, last in zip(
                box.start, box.stop, self.ratios, self.images.start, self.images.stop, strict=True
            )
        ]
        return Box(vec(start for start, _ in spans), vec(stop for _, stop in spans))

    def image(self, array: npt.NDArray[Any], place: Box, box: Box) -> npt.NDArray[Any]:
        """An image that fills `place` of its own voxels, in the network's voxels over `box`."""
        return self._over(array, place, box, interpolate)

    def labels(self, array: npt.NDArray[Any], place: Box, box: Box) -> npt.NDArray[Any]:
        """Labels that fill `place` of their own voxels, in the network's voxels over `box`."""
        return self._over(array, place, box, nearest)

    def _over(
        self, array: npt.NDArray[Any], place: Box, box: Box, method: Callable[..., npt.NDArray[Any]]
    ) -> npt.NDArray[Any]:
        if not self.resampled:
            return array[box.slices(place.start)]
        needed = self.read(box)  # no more, so that what is beyond does not depend on who asks
        spans = list(zip(box.start, box.stop, strict=True))
        return method(array[needed.slices(place.start)], needed.start, self.ratios, spans)


def check_voxel_size(
    layer: str, given: VoxelSize, wanted: VoxelSize, mips: Sequence[VoxelSize], resample: bool
) -> None:
    """Raise BadInput where images are of other voxels than a network can take, naming the right mip.

    `mips` are the sizes of the voxels of all mips of the layer, that which is given among them.
    """
    right = best_mip(mips, wanted, resample)
    if right is not None and mips[right] == given:
        return
    name = layer.partition("@")[0]
    said = f"{layer} has voxels of {_nm(given)}, and the network has learnt at {_nm(wanted)}"
    if right is not None:
        raise BadInput(f"{said}: give {name}@{right}.")
    finer = best_mip(mips, wanted, True)
    if not resample and finer is not None:
        raise BadInput(f"{said}: no mip is within 15 % of that; give {name}@{finer}, and resample: true.")
    raise BadInput(f"{said}: all mips of it are too coarse; take another network.")


def best_mip(mips: Sequence[VoxelSize], wanted: VoxelSize, resample: bool) -> int | None:
    """The mip that a network can use: the nearest within 15 %, or the coarsest that is nowhere coarser."""
    ratios = [np.array(wanted) / np.array(size) for size in mips]
    if resample:
        finer = [mip for mip, ratio in enumerate(ratios) if ratio.min() >= 1 - EXACT]
        return min(finer, key=lambda mip: float(ratios[mip].prod()), default=None)
    near = [mip for mip, ratio in enumerate(ratios) if np.abs(np.log(ratio)).max() <= np.log(1 + TOLERANCE)]
    return min(near, key=lambda mip: float(np.abs(np.log(ratios[mip])).max()), default=None)


def _nm(size: VoxelSize) -> str:
    return " x ".join(f"{n:g}" for n in size) + " nm"
