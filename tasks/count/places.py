"""Places in voxels of one size as places in voxels of another, and which of them lie where."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Box, Vec, vec
from chunkflow.task import Cell


def voxels_within(box: Box, own: Sequence[float], other: Sequence[float]) -> Box:
    """The voxels of another size whose centres lie in a box."""

    def first(corner: Vec) -> Vec:
        return vec(ceil(place * a / b - 0.5) for place, a, b in zip(corner, own, other, strict=True))

    return Box(first(box.start), first(box.stop))


def covered(places: npt.NDArray[np.float64], cell: Cell) -> npt.NDArray[np.bool_]:
    """Which places lie in the part that is counted: a table may have rows beyond it. None lies beyond the
    faces of the volume."""
    start, stop = np.array(cell.bounds.start), np.array(cell.bounds.stop)
    after = (places >= start) | (start == np.array(cell.volume.start))
    return np.asarray((after & ((places < stop) | (stop == np.array(cell.volume.stop)))).all(axis=1))


def within(voxels: npt.NDArray[np.int64], box: Box) -> npt.NDArray[np.bool_]:
    return np.asarray(((voxels >= np.array(box.start)) & (voxels < np.array(box.stop))).all(axis=1))
