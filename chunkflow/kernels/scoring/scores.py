"""Scores beyond counts: intervals by resampling, which points belong together, precision over recall."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from chunkflow.kernels.compiled import compiled
from chunkflow.kernels.scoring.matching import Points

Indexes = NDArray[np.int64]
Floats = NDArray[np.float64]

REPEATS = 1000
LEVEL = 0.95
MOST_IN_TABLE = 2**20
"""Pairs of a group that are written out as a table; larger groups are kept as their near pairs alone."""


@dataclass(frozen=True)
class Interval:
    """Where a score lies with a certainty of `LEVEL`; both NaN where it could not be resampled."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"


def bootstrap_interval(
    score: Callable[[Indexes], float],
    count: int,
    seed: int,
    groups: NDArray[np.int64] | None = None,
    repeats: int = REPEATS,
) -> Interval:
    """The percentiles of a score over `count` items drawn anew, with replacement; `score` is given which.

    With `groups` (a number for each item) whole groups are drawn, as items of one block of space or one
    animal are not independent. A draw for which the score is not a number, as it lacks a class, is left out.
    """
    if count == 0:
        return Interval(float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    members: list[Indexes] = [np.array([], np.int64)]
    if groups is not None:
        order = np.argsort(groups, kind="stable").astype(np.int64)
        members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    values = []
    for _ in range(repeats):
        if groups is None:
            drawn = random.integers(0, count, count)
        else:
            drawn = np.concatenate([members[n] for n in random.integers(0, len(members), len(members))])
        values.append(score(drawn))
    known = np.array(values)[np.isfinite(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    low, high = np.percentile(known, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return Interval(float(low), float(high))


def closest_pairs(found: Points, true: Points, tolerance: float) -> Indexes:
    """Rows of (index in `found`, index in `true`): as many pairs within the tolerance as there can be, and of
    all such choices the one with the least distance in all.

    Points that no chain of near ones joins are no concern of each other, so each such group is paired alone.
    """
    near = cKDTree(found).sparse_distance_matrix(cKDTree(true), tolerance, output_type="coo_matrix")
    if not near.nnz:
        return np.empty((0, 2), np.int64)
    joined = coo_matrix(
        (np.ones(near.nnz, np.int8), (near.row, near.col + len(found))), shape=(len(found) + len(true),) * 2
    )
    group = connected_components(joined, directed=False)[1][near.row]
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[order])) + 1
    pairs = [
        _pairs_of_group(near.row[edges], near.col[edges], near.data[edges] / tolerance)
        for edges in np.split(order, ends)
    ]
    return np.concatenate(pairs)


def _pairs_of_group(rows: Indexes, columns: Indexes, costs: Floats) -> Indexes:
    """Of points that chains of near ones join; `costs` are at most 1."""
    found, row = np.unique(rows, return_inverse=True)
    true, column = np.unique(columns, return_inverse=True)
    # One pair more is worth any distance: what is no pair costs more than all pairs there can be.
    no_pair = 2.0 * min(len(found), len(true)) + 1.0
    if len(found) * len(true) <= MOST_IN_TABLE:
        table = np.full((len(found), len(true)), no_pair)
        table[row, column] = costs
        chosen = linear_sum_assignment(table)
        paired = table[chosen] < no_pair
    else:
        # Each point found may stay alone, as if paired with one of its own. (A cost of 0 would be no edge.)
        alone = np.arange(len(found))
        edges = np.append(row, alone), np.append(column, len(true) + alone)
        weights = np.append(costs + 1, np.full(len(found), no_pair + 1))
        graph = coo_matrix((weights, edges), shape=(len(found), len(true) + len(found)))
        chosen = min_weight_full_bipartite_matching(graph.tocsr())
        paired = chosen[1] < len(true)
    return np.stack([found[chosen[0][paired]], true[chosen[1][paired]]], axis=1).astype(np.int64)


def ranked_matches(found: Points, true: Points, tolerance: float) -> NDArray[np.bool_]:
    """For points in the order of their rank, best first: which of them raise the number that can be matched.

    The sum of the first n is the most pairs that the first n points can have, for every n: each point takes a
    true one that is free, or makes those before it move on to others (a path of Kuhn's algorithm). A point
    once matched stays so.
    """
    if not len(found) or not len(true):
        return np.zeros(len(found), bool)
    near = cKDTree(found).query_ball_tree(cKDTree(true), tolerance)
    starts = np.zeros(len(found) + 1, np.int64)
    np.cumsum([len(indexes) for indexes in near], out=starts[1:])
    neighbours = np.array([index for indexes in near for index in sorted(indexes)], np.int64)
    return np.asarray(_augment(starts, neighbours, len(true)))


@compiled
def _augment(starts: Any, neighbours: Any, count: int) -> Any:
    owner = np.full(count, -1, np.int64)
    visited = np.full(count, -1, np.int64)
    raises = np.zeros(len(starts) - 1, np.bool_)
    # A path: the found points on it, where each is in its list, and the true point that each takes.
    path = np.empty(count + 1, np.int64)
    cursor = np.empty(count + 1, np.int64)
    taken = np.empty(count + 1, np.int64)
    for new in range(len(starts) - 1):
        path[0], cursor[0], depth = new, starts[new], 0
        while depth >= 0:
            if cursor[depth] == starts[path[depth] + 1]:
                depth -= 1
                continue
            true = neighbours[cursor[depth]]
            cursor[depth] += 1
            if visited[true] == new:
                continue
            visited[true] = new
            taken[depth] = true
            if owner[true] < 0:
                for step in range(depth + 1):
                    owner[taken[step]] = path[step]
                raises[new] = True
                break
            depth += 1
            path[depth] = owner[true]
            cursor[depth] = starts[path[depth]]
    return raises


@dataclass(frozen=True)
class Curve:
    """Precision and recall of what scores at least `threshold`, for each score that occurs, falling."""

    threshold: Floats
    found: Indexes
    matched: Indexes
    true: int

    @property
    def precision(self) -> Floats:
        return self.matched / self.found

    @property
    def recall(self) -> Floats:
        return self.matched / max(self.true, 1)

    @property
    def f1(self) -> Floats:
        return 2 * self.matched / (self.found + self.true)

    @property
    def average_precision(self) -> float:
        """The mean precision over recall, each step of recall at the precision where it is reached."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())


def precision_recall(found: Points, scores: Floats, true: Points, tolerance: float) -> Curve:
    """How precision and recall change as points of ever lower score are taken in."""
    order = np.argsort(-scores, kind="stable")
    matched = np.cumsum(ranked_matches(found[order], true, tolerance))
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(ordered) else order
    return Curve(ordered[last], last + 1, matched[last].astype(np.int64), len(true))
