"""Drawn shapes in space: the middle of a shape, its bounds, and what lies outside of a volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.people.review.log.edits import DrawnShape

Place = tuple[float, float, float]


def middle_of(shape: DrawnShape) -> Place:
    """The place at which a viewer looks at a shape: its centre, or the mean of its points."""
    points = shape.points[:1] if shape.kind == "ellipsoid" else shape.points
    x, y, z = (sum(values) / len(points) for values in zip(*points, strict=True))
    return x, y, z


def bounds_of(shape: DrawnShape) -> npt.NDArray[np.float64]:
    """The lowest and the highest place of a shape, one above the other."""
    points = np.array(shape.points, float)
    if shape.kind == "ellipsoid":
        centre, radii = points
        return np.stack([centre - radii, centre + radii])
    return np.stack([points.min(axis=0), points.max(axis=0)])


def distance_to(shape: DrawnShape, place: Sequence[float], voxel_size: Sequence[float]) -> float:
    """How far a place is from the bounds of a shape, in nanometres; within them nothing."""
    low, high = bounds_of(shape)
    at = np.array(place, float)
    outside = np.maximum(np.maximum(low - at, at - high), 0)
    return float(np.linalg.norm(outside * np.array(voxel_size)))


def refuse_shape(shape: DrawnShape, volume: Box) -> None:
    """Raise BadInput for a shape that lies outside of a volume, and for an ellipsoid without extent.

    An ellipsoid may reach out of the volume, as long as its centre does not.
    """
    if shape.kind == "ellipsoid" and min(shape.points[1]) <= 0:
        raise BadInput(f"The radii of an ellipsoid are larger than 0, not {list(shape.points[1])}.")
    for place in shape.points[:1] if shape.kind == "ellipsoid" else shape.points:
        if any(not a <= n <= b for a, n, b in zip(volume.start, place, volume.stop, strict=True)):
            raise BadInput(f"The place {list(place)} lies outside of the volume {volume}.")
