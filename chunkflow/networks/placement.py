"""Places of patches in a volume: they depend on the volume alone, never on who asks.

Along each axis patches begin at the volume's first voxel, one every `patch - overlap` voxels, and the last
one ends with the volume. Only in a volume that is smaller than a patch does the patch stick out, by as much
on both sides, where the volume's mirror image is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.kernels.images.patch_sums import FULL as FULL

MOST_SUM = 2**32 - 1
LARGEST_WEIGHT = 1023


def least_step(threshold: float) -> int:
    """The first of the whole steps up to FULL that reaches a threshold, as that is written."""
    return ceil(threshold * FULL - 1e-6)


@dataclass(frozen=True)
class Patches:
    """All patches of a volume."""

    volume: Box
    patch: Vec
    overlap: Vec

    @property
    def shape(self) -> Vec:
        """How many there are along each axis."""
        return vec(self._count(axis) for axis in range(3))

    def meeting(self, box: Box) -> Iterator[Box]:
        """The patches that share voxels with `box`, x fastest."""
        xs, ys, zs = (self._starts(axis, box) for axis in range(3))
        for z in zs:
            for y in ys:
                for x in xs:
                    yield Box.of_size(self.patch, (x, y, z))

    def count(self, box: Box) -> int:
        """How many patches share voxels with `box`."""
        return prod(len(self._indexes(axis, box)) for axis in range(3))

    def window(self, box: Box) -> Box:
        """What these patches cover together."""
        starts = [self._starts(axis, box) for axis in range(3)]
        return Box(
            vec(axis[0] for axis in starts),
            vec(axis[-1] + p for axis, p in zip(starts, self.patch, strict=True)),
        )

    def repeats(self, grid: Grid) -> float:
        """How often a patch is computed on average, as cells that it meets compute it each."""
        computed = 1.0
        for axis in range(3):
            cells = range(grid.shape[axis])
            boxes = (grid.box_at(vec(cell if a == axis else 0 for a in range(3))) for cell in cells)
            met = [self._indexes(axis, box) for box in boxes]
            computed *= sum(map(len, met)) / (met[-1].stop - met[0].start)
        return computed

    def _stride(self, axis: int) -> int:
        return self.patch[axis] - self.overlap[axis]

    def _count(self, axis: int) -> int:
        beyond = self.volume.size[axis] - self.patch[axis]
        return 1 + -(-max(beyond, 0) // self._stride(axis))

    def _start(self, axis: int, index: int) -> int:
        beyond = self.volume.size[axis] - self.patch[axis]
        inside = beyond // 2 if beyond < 0 else min(index * self._stride(axis), beyond)
        return self.volume.start[axis] + inside

    def _indexes(self, axis: int, box: Box) -> range:
        """The patches along one axis that meet `box`."""
        first, size, stride = self.volume.start[axis], self.patch[axis], self._stride(axis)
        low, high = box.start[axis] - first, box.stop[axis] - first
        count = self._count(axis)
        begin = min(max((low - size) // stride + 1, 0), count - 1)
        end = min(max(-(-high // stride), begin + 1), count)
        if (
            end < count and self._start(axis, count - 1) - first < high
        ):  # the last, moved back into the volume
            end = count
        return range(begin, end)

    def _starts(self, axis: int, box: Box) -> list[int]:
        return [self._start(axis, index) for index in self._indexes(axis, box)]


def largest_weight(patch: Vec, overlap: Vec) -> int:
    """The weight of a patch's middle; ValueError where so many patches meet that there is none."""
    most = prod(1 + -(-p // (p - o)) for p, o in zip(patch, overlap, strict=True))
    largest = min(MOST_SUM // (FULL * most), LARGEST_WEIGHT)
    if largest < 1:
        raise ValueError(f"patches of {list(patch)} that share {list(overlap)} voxels: too many meet in one")
    return largest


def bump_weights(patch: Vec, overlap: Vec) -> npt.NDArray[np.uint16]:
    """Weights of a patch's voxels, most in its middle: whole numbers, the same on every machine.

    They are so small that the sum over all patches that meet in a voxel fits in 32 bits. Along an axis the
    weight is (1 - t²)², where t goes from -1 to 1 through the patch.
    """
    largest = largest_weight(patch, overlap)
    x, y, z = (_profile(size) for size in patch)
    product = x[:, None, None] * y[None, :, None] * z[None, None, :]
    scaled = product * largest // product.max()
    weights: npt.NDArray[np.uint16] = np.maximum(scaled, 1).astype(np.uint16)
    return weights


def _profile(size: int) -> npt.NDArray[np.int64]:
    """(1 - t²)² for each voxel along an axis, in 2¹⁶ steps, whose products fit in 64 bits."""
    values = [(size * size - (2 * i + 1 - size) ** 2) ** 2 for i in range(size)]
    return np.array([max((value << 16) // size**4, 1) for value in values], np.int64)
