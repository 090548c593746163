"""Turns of patches by right angles, and flips: exact, as voxels only change places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Vec, vec

ALIKE = 1e-6
"""How far the sizes of voxels along two axes may differ and be taken for equal."""


@dataclass(frozen=True)
class Turn:
    """Axes that change places, and then those that are turned over."""

    order: Vec = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def size_before(self, size: Vec) -> Vec:
        """The size of an array that has `size` once it is turned."""
        before = [0, 0, 0]
        for axis, source in enumerate(self.order):
            before[source] = size[axis]
        return vec(before)

    def apply(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The array, its last three axes turned."""
        first = array.ndim - 3
        turned = array.transpose(*range(first), *(first + axis for axis in self.order))
        over = tuple(first + axis for axis in range(3) if self.flipped[axis])
        return np.ascontiguousarray(np.flip(turned, over))


def draw_turn(random: np.random.Generator, voxel_size: Sequence[float], flips: bool, turns: bool) -> Turn:
    """One of all turns: axes of equal voxels change places, and each axis is flipped half of the time.

    The same numbers are drawn whatever is asked for, so that what follows does not depend on it.
    """
    orders = [order for order in permutations(range(3)) if _is_alike(voxel_size, order)]
    order = orders[int(random.integers(len(orders)))]
    flipped = random.random(3) < 0.5
    x, y, z = (bool(over) and flips for over in flipped)
    return Turn(vec(order) if turns else (0, 1, 2), (x, y, z))


def _is_alike(voxel_size: Sequence[float], order: Sequence[int]) -> bool:
    return all(abs(voxel_size[axis] / voxel_size[i] - 1) < ALIKE for i, axis in enumerate(order))
