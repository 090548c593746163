"""How well points that were found agree with the true ones: each true point is found at most once.

1. Every pair of a found and a true point no further apart than the tolerance could match.
2. Of these the largest set in which no point occurs twice is taken (Hopcroft and Karp's maximum matching), so
   that the score does not depend on the points' order, as it would if each took the nearest still free.
3. Precision is the matched share of what was found, recall of what is true, F1 their harmonic mean.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Counts of points, and the shares that follow from them."""

    found: int
    true: int
    matched: int

    @property
    def precision(self) -> float:
        """The share of the points found that are true; 1 if none was found."""
        return self.matched / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """The share of the true points that were found; 1 if there are none."""
        return self.matched / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        total = self.found + self.true
        return 2 * self.matched / total if total else 1.0


def match_points(found: Points, true: Points, tolerance: float) -> Score:
    """Match points (rows of x, y, z, both in the same unit as the tolerance) one to one."""
    return Score(len(found), len(true), len(matched_pairs(found, true, tolerance)))


def matched_pairs(found: Points, true: Points, tolerance: float) -> NDArray[np.int64]:
    """Rows of (index in `found`, index in `true`): as many pairs within the tolerance as there can be."""
    if not len(found) or not len(true):
        return np.empty((0, 2), np.int64)
    near = cKDTree(true).query_ball_tree(cKDTree(found), tolerance)
    columns = np.concatenate([np.array(indexes, np.int64) for indexes in near])
    rows = np.repeat(np.arange(len(true)), [len(indexes) for indexes in near])
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(true), len(found)))
    of_true = maximum_bipartite_matching(graph.tocsr(), perm_type="column")
    matched = np.flatnonzero(of_true >= 0)
    return np.stack([of_true[matched].astype(np.int64), matched], axis=1)
