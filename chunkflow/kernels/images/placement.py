"""Where all tiles lie: the places that agree best with what the links between neighbours say.

1. Links without weight are left out. What the others join are the pieces.
2. In each piece the places with the least sum of absolute errors are found, by least squares in turns that
   give a link the less weight the farther it is off. A few wrong links do not move these places, and all
   tiles of a piece are joined by links that agree with them.
3. Links that are off by more than `TOLERANCE` voxels, and by more than `USUAL` times the median link, are
   left out. The places are the weighted least squares of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

TOLERANCE = 2.0
USUAL = 4.0
TURNS = 40
FINEST = 1e-3
"""Voxels: links that are nearer are as good as one another."""


@dataclass(frozen=True)
class Placement:
    """The places of all tiles in voxels, and what became of each link."""

    places: Doubles
    """(tiles, 3); the first voxel of a piece's box is 0."""
    pieces: Integers
    """The piece of each tile, counted in the order of their first tiles."""
    residuals: Doubles
    """How far each link is from the places, along the axis where it is farthest; NaN between two pieces."""
    kept: npt.NDArray[np.bool_]


def place(pairs: Integers, shifts: Doubles, weights: Doubles, nominal: Doubles) -> Placement:
    """Places from links: tile `pairs[i, 1]` lies at `shifts[i]` from tile `pairs[i, 0]`. A piece lies about
    where `nominal` has its tiles."""
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    kept = np.asarray(weights) > 0
    trust = np.array(weights, np.float64)
    for _ in range(TURNS if kept.any() else 0):
        places, _ = _solve(pairs[kept], shifts[kept], trust[kept], nominal)
        residuals = _residuals(pairs, shifts, places)
        trust = weights / np.maximum(residuals, FINEST)
    if kept.any():
        kept &= residuals <= max(TOLERANCE, USUAL * float(np.median(residuals[kept])))
    places, pieces = _solve(pairs[kept], shifts[kept], weights[kept], nominal)
    residuals = _residuals(pairs, shifts, places)
    residuals[pieces[pairs[:, 0]] != pieces[pairs[:, 1]]] = np.nan
    for piece in range(int(pieces.max()) + 1):
        places[pieces == piece] -= places[pieces == piece].min(axis=0)
    return Placement(places, pieces, residuals, kept)


def _residuals(pairs: Integers, shifts: Doubles, places: Doubles) -> Doubles:
    """How far each link is off, along the axis where it is farthest."""
    return np.asarray(np.abs(places[pairs[:, 1]] - places[pairs[:, 0]] - shifts).max(axis=1))


def _solve(pairs: Integers, shifts: Doubles, weights: Doubles, nominal: Doubles) -> tuple[Doubles, Integers]:
    """The least squares; the first tile of each piece stays at its nominal place."""
    tiles, rows = len(nominal), np.arange(len(pairs))
    design = coo_matrix(
        (np.repeat([-1.0, 1.0], len(pairs)), (np.tile(rows, 2), pairs.T.ravel())), (len(pairs), tiles)
    ).tocsr()
    graph = csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (tiles, tiles))
    pieces = np.asarray(connected_components(graph, directed=False)[1], np.int64)
    free = np.ones(tiles, bool)
    free[np.unique(pieces, return_index=True)[1]] = False
    places = np.array(nominal, np.float64)
    if free.any():
        weighted = design.T.multiply(weights).tocsr()[free]
        wanted = shifts - design[:, ~free] @ places[~free]
        found = spsolve((weighted @ design[:, free]).tocsc(), weighted @ wanted)
        places[free] = np.reshape(found, (-1, 3))
    return places, pieces
