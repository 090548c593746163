"""Pairs of places that mean the same object: one to one, the nearest first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from chunkflow.data.info import TableInfo
from chunkflow.errors import BadInput
from chunkflow.people.review.objects import Floats, TableObjects

Numbers = npt.NDArray[np.int64]


def nearest_pairs(
    ones: Floats, others: Floats, owners: Numbers, info: TableInfo, tolerance_um: float
) -> Numbers:
    """Rows of (index in `ones`, owner) no further apart than the tolerance, of places in voxels.

    `owners` says whose each of the `others` is: one owner may have several places. Of all pairs the nearest
    is taken first, then the nearest of those that are left.
    """
    if not len(ones) or not len(others):
        return np.empty((0, 2), np.int64)
    size = np.array(info.voxel_size) / 1e3
    tree, own = cKDTree(others * size), ones * size
    near = tree.query_ball_point(own, tolerance_um)
    first = np.repeat(np.arange(len(ones)), [len(found) for found in near])
    second = np.concatenate([np.array(found, np.int64) for found in near])
    distance = np.linalg.norm(own[first] - tree.data[second], axis=1)
    taken, given = np.zeros(len(ones), bool), np.zeros(int(owners.max()) + 1, bool)
    pairs = []
    for at in np.lexsort((second, first, distance)):
        one, owner = first[at], owners[second[at]]
        if not (taken[one] or given[owner]):
            taken[one] = given[owner] = True
            pairs.append((one, owner))
    return np.array(pairs, np.int64).reshape(-1, 2)


def tolerance_of(objects: TableObjects, given: float | None, name: str = "tolerance_um") -> float:
    """The tolerance in micrometres that is given, else half the diameter of objects."""
    if given is not None:
        if not given > 0:
            raise BadInput(f"{name} is {given:g}: it must be more than 0.")
        return given
    if objects.diameter is None:
        raise BadInput(
            f"The table {objects.info.url} does not say how large its objects are (diameter_um): give "
            f"{name}, how far apart two places of one object may lie."
        )
    return objects.diameter / 2
