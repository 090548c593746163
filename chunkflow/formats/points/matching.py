"""Which object each marked point means.

1. A point that has the id of an object, and lies within half a diameter of its centroid, means that object;
   so does a row that has an id and no place.
2. Else it means the object under it, where there are labels; they are read in blocks that have points.
3. Else, where it lies on no object, the nearest whose centroid is within half of the object's diameter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.spatial import cKDTree

from chunkflow.data.info import LayerInfo
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.formats.points.places import positions
from chunkflow.geometry import Box, vec

Ids = npt.NDArray[np.uint64]
BLOCK = 128
SHOWN = 5
NEEDED = ("id", "x_um", "y_um", "z_um", "diameter_um")


@dataclass(frozen=True)
class Assigned:
    """The object of each point, and what is to be told of those that have none or share one."""

    ids: Ids
    """Of each point, 0 where it means no object."""

    @property
    def unmatched(self) -> npt.NDArray[np.int64]:
        """The points that mean no object."""
        return np.flatnonzero(self.ids == 0)

    @property
    def doubled(self) -> Ids:
        """The objects that several points mean, sorted."""
        ids, counts = np.unique(self.ids[self.ids != 0], return_counts=True)
        return np.asarray(ids[counts > 1])

    @property
    def said(self) -> str:
        """What is wrong, in a sentence; empty where every point has an object of its own."""
        parts = []
        if len(self.unmatched):
            numbers = _listed(self.unmatched + 1)
            parts.append(f"points on no object: {len(self.unmatched)} of {len(self.ids)} (numbers {numbers})")
        if len(self.doubled):
            parts.append(f"objects with several points: {len(self.doubled)} (ids {_listed(self.doubled)})")
        return "; ".join(parts).capitalize() + "." if parts else ""


def assign(
    points: pa.Table, objects: pa.Table | Iterable[pa.Table], layer: LayerInfo, labels: Volume | None = None
) -> Assigned:
    """Give points (x, y, z in voxels of `layer`, as `read_points` has them) to the objects of a table, which
    may come in pieces of any size: only the points are held.

    `labels` are those that the table was measured on.
    """
    pieces = [objects] if isinstance(objects, pa.Table) else objects
    own = points["id"].to_numpy() if "id" in points.column_names else np.zeros(len(points), np.uint64)
    if "x" not in points.column_names:
        known = [own[np.isin(own, piece["id"].to_numpy())] for piece in pieces]
        return Assigned(np.where(np.isin(own, np.concatenate([*known, own[:0]])), own, np.uint64(0)))
    under = ids_under(points, layer, labels) if labels is not None else np.zeros(len(points), np.uint64)
    found = _Nearest(positions(points) * (np.array(layer.voxel_size) / 1e3), own, under)
    for piece in pieces:
        found.look(piece)
    nearest = np.where(under == 0, found.nearest, np.uint64(0))
    by_place = np.where(found.is_under, under, nearest)
    return Assigned(np.where(found.is_own, own, by_place))


class _Nearest:
    """What is known of the points, after the objects that were looked at."""

    def __init__(self, microns: npt.NDArray[np.float64], own: Ids, under: Ids) -> None:
        self._tree, self._microns, self._own, self._under = cKDTree(microns), microns, own, under
        self._distance = np.full(len(microns), np.inf)
        self.nearest = np.zeros(len(microns), np.uint64)
        self.is_own = np.zeros(len(microns), bool)
        self.is_under = np.zeros(len(microns), bool)

    def look(self, objects: pa.Table) -> None:
        lacking = [name for name in NEEDED if name not in objects.column_names]
        if lacking:
            raise BadInput(
                f"Points are given to objects by columns that measure makes; {lacking[0]} is lacking."
            )
        ids = objects["id"].to_numpy()
        self.is_under |= np.isin(self._under, ids)
        if not len(ids) or not len(self._microns):
            return
        centres = np.stack([objects[f"{axis}_um"].to_numpy() for axis in "xyz"], 1)
        reached = self._tree.query_ball_point(centres, objects["diameter_um"].to_numpy() / 2)
        counts = np.array([len(found) for found in reached])
        which = np.repeat(np.arange(len(ids)), counts)
        point = np.concatenate([np.array(found, np.int64) for found in reached])
        distance = np.linalg.norm(centres[which] - self._microns[point], axis=1)
        self.is_own[point[ids[which] == self._own[point]]] = True
        order = np.lexsort(
            (ids[which], distance, point)
        )  # of each point the nearest first, then the smallest id
        first = order[np.flatnonzero(np.diff(point[order], prepend=-1))]
        better = (distance[first] < self._distance[point[first]]) | (
            (distance[first] == self._distance[point[first]])
            & (ids[which[first]] < self.nearest[point[first]])
        )
        taken = first[better]
        self._distance[point[taken]], self.nearest[point[taken]] = distance[taken], ids[which[taken]]


def ids_under(points: pa.Table, layer: LayerInfo, labels: Volume) -> Ids:
    """The id of the labels at each point, read block by block."""
    ratio = np.array(layer.voxel_size) / np.array(labels.info.voxel_size)
    bounds = labels.info.bounds
    voxels = np.floor(positions(points) * ratio).astype(np.int64)
    ids = np.zeros(len(voxels), np.uint64)
    within = ((voxels >= bounds.start) & (voxels < bounds.stop)).all(axis=1)
    blocks = voxels // BLOCK
    rows = np.flatnonzero(within)
    rows = rows[np.lexsort(blocks[rows].T)]
    cuts = np.flatnonzero((np.diff(blocks[rows], axis=0) != 0).any(axis=1)) + 1
    for members in np.split(rows, cuts) if len(rows) else ():
        here = voxels[members]
        start = vec(here.min(axis=0))
        array = labels.read(Box(start, vec(here.max(axis=0) + 1))).array
        ids[members] = array[tuple((here - start).T)]
    return ids


def _listed(numbers: npt.NDArray[np.integer]) -> str:
    said = ", ".join(str(int(n)) for n in numbers[:SHOWN])
    return said + (" …" if len(numbers) > SHOWN else "")
