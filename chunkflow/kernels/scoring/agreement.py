"""How well two labellings of the same voxels agree, from how many voxels each pair of labels shares.

All follows from the table of overlaps, which is exact under addition: a volume may be counted in any pieces.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from chunkflow.kernels.compiled import compiled

Ids = NDArray[np.uint64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def count_overlaps(labels: NDArray[Any], other: NDArray[Any]) -> tuple[Ids, Ids, Ints]:
    """The pairs of labels that share voxels, 0 included, sorted; and how many voxels they share."""
    first, second, lengths = _runs(labels.T.astype(np.uint64).ravel(), other.T.astype(np.uint64).ravel())
    return add_overlaps(first, second, lengths)


def add_overlaps(labels: Ids, other: Ids, voxels: Ints) -> tuple[Ids, Ids, Ints]:
    """Counts of the same pair added up, sorted by pair."""
    if not len(labels):
        return labels, other, voxels
    order = np.lexsort((other, labels))
    first, second = labels[order], other[order]
    begins = np.flatnonzero(np.append(True, (first[1:] != first[:-1]) | (second[1:] != second[:-1])))
    return first[begins], second[begins], np.add.reduceat(voxels[order], begins)


@compiled
def _runs(labels: Any, other: Any) -> Any:
    """Voxels that follow one another with the same pair count as one run: labels are of a piece."""
    count = 0
    for voxel in range(len(labels)):
        count += voxel == 0 or labels[voxel] != labels[voxel - 1] or other[voxel] != other[voxel - 1]
    first, second = np.empty(count, np.uint64), np.empty(count, np.uint64)
    lengths = np.zeros(count, np.int64)
    run = -1
    for voxel in range(len(labels)):
        if voxel == 0 or labels[voxel] != labels[voxel - 1] or other[voxel] != other[voxel - 1]:
            run += 1
            first[run], second[run] = labels[voxel], other[voxel]
        lengths[run] += 1
    return first, second, lengths


@dataclass(frozen=True)
class Overlaps:
    """How many voxels each label found shares with each true one; 0 is what is neither."""

    found: Ids
    true: Ids
    voxels: Ints

    def __post_init__(self) -> None:
        if not self.voxels.sum():
            raise ValueError("no voxel was compared")

    def matches(self, least: float) -> tuple[Ids, Ids, Floats]:
        """The objects found, the true ones they are matched to one to one, and the shares of common voxels in
        the voxels of both (IoU), each at least `least`: as many pairs as there can be."""
        found_ids, row, found_sizes = _sizes(self.found, self.voxels)
        true_ids, column, true_sizes = _sizes(self.true, self.voxels)
        iou = self.voxels / (found_sizes[row] + true_sizes[column] - self.voxels)
        near = np.flatnonzero((self.found > 0) & (self.true > 0) & (iou >= least))
        shape = (len(found_ids), len(true_ids))
        graph = coo_matrix((np.ones(len(near), np.int8), (row[near], column[near])), shape=shape).tocsr()
        partner = maximum_bipartite_matching(graph, perm_type="column")
        kept = near[partner[row[near]] == column[near]]
        return self.found[kept], self.true[kept], iou[kept]

    def objects(self) -> tuple[Ids, Ids]:
        """The ids of all objects found, and of all true ones."""
        found, true = np.unique(self.found), np.unique(self.true)
        return found[found > 0], true[true > 0]

    def variation_of_information(self) -> tuple[float, float]:
        """Bits, over all voxels: those that the found labels add to the true ones (objects are split), and
        those that they lack (objects are merged)."""
        shares = self.voxels / self.voxels.sum()
        _, row, found = _sizes(self.found, shares)
        _, column, true = _sizes(self.true, shares)
        split = -float((shares * np.log2(shares / true[column])).sum())
        merge = -float((shares * np.log2(shares / found[row])).sum())
        return max(0.0, split), max(0.0, merge)

    def adapted_rand(self) -> tuple[float, float, float]:
        """Of pairs of voxels of true objects: the error 1 - F1, and the precision and the recall with which
        the found labels join those of one object."""
        inside = self.true > 0
        shared = self.voxels[inside].astype(np.float64)
        total = shared.sum()
        together = (shared**2).sum() - total
        found = (_sizes(self.found[inside], shared)[2] ** 2).sum() - total
        true = (_sizes(self.true[inside], shared)[2] ** 2).sum() - total
        precision = float(together / found) if found else 1.0
        recall = float(together / true) if true else 1.0
        return 1 - float(2 * together / (found + true)) if found + true else 0.0, precision, recall


def _sizes(ids: Ids, voxels: NDArray[Any]) -> tuple[Ids, Ints, Floats]:
    """Each id once, where each row's is among them, and its voxels in all."""
    names, which = np.unique(ids, return_inverse=True)
    sizes = np.bincount(which, weights=voxels, minlength=len(names)).astype(np.float64)
    return names, which.astype(np.int64), sizes
