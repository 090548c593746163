"""Elastic deformation: a smooth field of displacements, by which image and truth move alike."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Vec
from chunkflow.kernels.compiled import compiled

Floats = npt.NDArray[np.float32]


def draw_field(
    random: np.random.Generator, size: Vec, voxel_size: Sequence[float], spacing: float, deviation: float
) -> Floats:
    """Displacements in voxels (axis, x, y, z), from normal numbers at nodes `spacing` micrometres apart.

    Between the nodes lie cubic B-splines, which are smooth and never beyond the nodes around. `deviation`,
    micrometres, is the standard deviation at the nodes.
    """
    step = [spacing * 1000 / length for length in voxel_size]
    nodes = [ceil(n / s) + 3 for n, s in zip(size, step, strict=True)]
    field = random.standard_normal((3, *nodes)).astype(np.float32)
    for axis in range(3):
        weights = _spline_weights(size[axis], step[axis], nodes[axis])
        field = np.moveaxis(np.moveaxis(field, axis + 1, -1) @ weights.T, -1, axis + 1)
    scale = np.array([deviation * 1000 / length for length in voxel_size], np.float32)
    return np.ascontiguousarray(field * scale[:, None, None, None])


def _spline_weights(size: int, step: float, nodes: int) -> Floats:
    """How much each node counts in each voxel: rows that add up to 1."""
    place = (np.arange(size) + 0.5) / step
    first = place.astype(int)
    t = place - first
    parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    weights = np.zeros((size, nodes), np.float32)
    for offset, part in enumerate(parts):
        weights[np.arange(size), first + offset] = part / 6
    return weights


def warp_image(image: Floats, field: Floats, margin: Vec) -> Floats:
    """An image (channel, x, y, z) read at displaced places, between voxels trilinearly.

    It reaches beyond the field by `margin` on all sides; longer displacements are cut to that.
    """
    made = np.empty((len(image), *field.shape[1:]), np.float32)
    _interpolate(np.ascontiguousarray(image), field, np.array(margin), made)
    return made


def warp_labels(labels: npt.NDArray[Any], field: Floats, margin: Vec) -> npt.NDArray[Any]:
    """Labels (channel, x, y, z) at displaced places, each that of the nearest voxel; else as `warp_image`."""
    made = np.empty((len(labels), *field.shape[1:]), labels.dtype)
    _take_nearest(np.ascontiguousarray(labels), field, np.array(margin), made)
    return made


@compiled
def _interpolate(image: Any, field: Any, margin: Any, made: Any) -> None:
    low = np.empty(3, np.int64)
    part = np.empty(3, np.float32)
    for x in range(made.shape[1]):
        for y in range(made.shape[2]):
            for z in range(made.shape[3]):
                for axis in range(3):
                    reach = np.float32(margin[axis])
                    moved = min(max(field[axis, x, y, z], -reach), reach)
                    place = np.float32((x, y, z)[axis]) + reach + moved
                    # the last voxel is reached by weighing it whole, not by reading beyond it
                    low[axis] = min(int(place), max(image.shape[axis + 1] - 2, 0))
                    part[axis] = place - np.float32(low[axis])
                for channel in range(made.shape[0]):
                    total = np.float32(0)
                    for corner in range(8):
                        weight = np.float32(1)
                        i, j, k = low[0], low[1], low[2]
                        if corner & 1:
                            i += 1
                            weight *= part[0]
                        else:
                            weight *= np.float32(1) - part[0]
                        if corner & 2:
                            j += 1
                            weight *= part[1]
                        else:
                            weight *= np.float32(1) - part[1]
                        if corner & 4:
                            k += 1
                            weight *= part[2]
                        else:
                            weight *= np.float32(1) - part[2]
                        if weight > 0:
                            total += weight * image[channel, i, j, k]
                    made[channel, x, y, z] = total


@compiled
def _take_nearest(labels: Any, field: Any, margin: Any, made: Any) -> None:
    for x in range(made.shape[1]):
        for y in range(made.shape[2]):
            for z in range(made.shape[3]):
                i, j, k = x, y, z
                for axis in range(3):
                    reach = np.float32(margin[axis])
                    moved = min(max(field[axis, x, y, z], -reach), reach)
                    step = margin[axis] + int(np.floor(moved + np.float32(0.5)))
                    if axis == 0:
                        i = min(x + step, labels.shape[1] - 1)
                    elif axis == 1:
                        j = min(y + step, labels.shape[2] - 1)
                    else:
                        k = min(z + step, labels.shape[3] - 1)
                for channel in range(made.shape[0]):
                    made[channel, x, y, z] = labels[channel, i, j, k]
