"""Images on a coarser grid, by linear interpolation at places that are counted from voxel 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.images.gaussian import Span


def span_between(span: Span, ratio: float, whole: Span) -> Span:
    """The voxels of an image between whose middles the voxels `span` of a coarser grid lie, within `whole`.

    `ratio` is how many times as large the coarser voxels are.
    """
    first = int(np.floor(_places(span[0], ratio)))
    last = int(np.floor(_places(span[1] - 1, ratio))) + 2
    start = min(max(first, whole[0]), whole[1] - 1)
    return start, max(min(last, whole[1]), start + 1)


def interpolate(
    image: NDArray[Any], start: Sequence[int], ratios: Sequence[float], spans: Sequence[Span]
) -> NDArray[np.float32]:
    """The image, whose first voxel is `start`, at the voxels `spans` of a coarser grid; beyond the image its
    outermost voxels go on. The value of a voxel does not depend on which others are asked for."""
    found: NDArray[np.float32] = image.astype(np.float32)
    for axis, (span, ratio) in enumerate(zip(spans, ratios, strict=True)):
        places = _places(np.arange(*span), ratio)
        below = np.floor(places)
        last = image.shape[axis] - 1
        low = np.clip(below.astype(np.int64) - start[axis], 0, last)
        high = np.clip(below.astype(np.int64) + 1 - start[axis], 0, last)
        shape = tuple(-1 if n == axis else 1 for n in range(3))
        share = (places - below).astype(np.float32).reshape(shape)
        found = np.take(found, low, axis) * (1 - share) + np.take(found, high, axis) * share
    return found


def nearest(
    labels: NDArray[Any], start: Sequence[int], ratios: Sequence[float], spans: Sequence[Span]
) -> NDArray[Any]:
    """Labels at the voxels `spans` of a coarser grid: those of the voxel in which the middle lies."""
    for axis, (span, ratio) in enumerate(zip(spans, ratios, strict=True)):
        places = np.floor((np.arange(*span) + 0.5) * ratio).astype(np.int64) - start[axis]
        labels = np.take(labels, np.clip(places, 0, labels.shape[axis] - 1), axis)
    return labels


def _places(voxels: Any, ratio: float) -> Any:
    """The middles of coarser voxels, in voxels of the image."""
    return (np.asarray(voxels) + 0.5) * ratio - 0.5
