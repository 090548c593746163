"""Regions that a network is judged over, and what it says of them: of each voxel, or of each candidate.

Two protocols stand side by side. The honest one takes all that is found, or all candidates, and all cells of
a region, paired one to one. The other, usual in papers, asks about cells and about places drawn at random
between 6 and 20 voxels from cells, ten for one cell: most of these are dark, so it flatters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from chunkflow.geometry import Box
from chunkflow.kernels.objects.heat_peaks import find_heat_peaks, offsets_within, peak_reach
from chunkflow.kernels.scoring.matching import match_points
from chunkflow.kernels.scoring.scores import ranked_matches
from chunkflow.networks.placement import FULL, least_step
from chunkflow.networks.training.truths import CellsTruth, Floats
from chunkflow.networks.training.volumes import Mask, OpenedVolume

Steps = npt.NDArray[np.uint16]
THRESHOLDS = tuple(step / 20 for step in range(1, 20))
"""Those that cells are looked for at in a heatmap."""
FINE_THRESHOLDS = tuple(step / 200 for step in range(1, 200))
"""Those that candidates are taken for cells at."""
AWAY = (6, 20)
"""How far places drawn at random are from cells, in voxels."""
FOR_EACH_CELL = 10
"""So many places are drawn at random."""
TRIES = 20


@dataclass(frozen=True)
class JudgedRegion:
    """A box of a volume in which a network is judged."""

    volume: OpenedVolume
    box: Box
    judged: Mask

    @property
    def points(self) -> Floats:
        """The points that are to be found, in continuous voxels."""
        assert self.volume.points is not None
        return self.volume.points[self.has(self.volume.points)]

    def has(self, places: Floats) -> Mask:
        """Which places lie where it is judged."""
        voxels = np.floor(places).astype(np.int64) - self.box.start
        inside: Mask = np.all((voxels >= 0) & (voxels < self.box.size), axis=1)
        inside[inside] = self.judged[tuple(voxels[inside].T)]
        return inside


def judged_regions(volumes: Sequence[OpenedVolume]) -> list[JudgedRegion]:
    """The validation of volumes."""
    return [JudgedRegion(volume, box, volume.judged(box)) for volume in volumes for box in volume.validation]


def learnt_regions(volumes: Sequence[OpenedVolume]) -> list[JudgedRegion]:
    """What is learnt from in volumes."""
    learnt = [volume for volume in volumes if volume.learns]
    return [JudgedRegion(volume, box, volume.learnt(box)) for volume in learnt for box in volume.boxes]


@dataclass(frozen=True)
class Prediction:
    """What a network gives over a region, in whole steps from 0 to 65,535 (x, y, z, output)."""

    region: JudgedRegion
    steps: Steps
    controls: Controls | None = None

    def cells(self, truth: CellsTruth, threshold: float) -> tuple[Floats, Floats]:
        """Cells found, as `detect` finds them: places in voxels from the region's start, and how likely."""
        heat, box = self.steps[..., 0], Box.of_size(self.region.box.size)
        least = least_step(threshold)
        radii, half = peak_reach(truth.diameter * 1000, self.region.volume.space.voxel_size)
        peaks = find_heat_peaks(heat, [(0, n) for n in box.size], least, half, offsets_within(radii))
        found = peaks.centres((0, 0, 0))
        kept = self.region.has(found + self.region.box.start)
        return found[kept], peaks.heights[kept] / FULL


@dataclass(frozen=True)
class JudgedCandidates:
    """What a network says of the candidates of a region, in whole steps from 0 to 65,535."""

    region: JudgedRegion
    places: Floats
    """In continuous voxels."""
    steps: Steps
    controls: Controls | None = None

    def cells(self, truth: CellsTruth, threshold: float) -> tuple[Floats, Floats]:
        """Candidates taken for cells: places in voxels from the region's start, and how likely."""
        kept = self.steps >= least_step(threshold)
        return self.places[kept] - self.region.box.start, self.steps[kept] / FULL


@dataclass(frozen=True)
class Controls:
    """Places of the protocol that is usual in papers: cells, and places at random."""

    places: Floats
    """In continuous voxels."""
    is_cell: Mask
    chances: Floats
    """The network's probabilities."""


Predicted = Prediction | JudgedCandidates


def voxelwise(predicted: Sequence[Predicted]) -> list[Prediction]:
    """Those that say something of each voxel."""
    return [one for one in predicted if isinstance(one, Prediction)]


def controls_of(region: JudgedRegion, seed: int) -> tuple[Floats, Mask]:
    """The cells of a region and places at random, the same for the same seed; and which of them are cells."""
    points = region.points
    drawn = places_away(
        np.random.default_rng(seed), points, region.volume.points, FOR_EACH_CELL * len(points)
    )
    drawn = drawn[region.has(drawn)]
    return np.concatenate([points, drawn]), np.arange(len(points) + len(drawn)) < len(points)


def places_away(random: np.random.Generator, around: Floats, points: Floats | None, count: int) -> Floats:
    """Middles of voxels, each as far as AWAY from one of the points `around`, and no nearer to any point."""
    assert points is not None
    if not len(around):
        return np.zeros((0, 3))
    tree, found = cKDTree(points), np.zeros((0, 3))
    for _ in range(TRIES):
        steps = random.integers(-AWAY[1], AWAY[1] + 1, (4 * count, 3))
        near = around[random.integers(len(around), size=4 * count)]
        far = np.linalg.norm(steps, axis=1)
        places = (np.floor(near) + steps + 0.5)[(far >= AWAY[0]) & (far <= AWAY[1])]
        found = np.concatenate([found, places[tree.query(places)[0] >= AWAY[0]]])[:count]
        if len(found) == count:
            break
    return found


@dataclass(frozen=True)
class RankedPlaces:
    """Places of a region that were asked about or found, the likeliest first, and what became of them."""

    places: Floats
    """In continuous voxels."""
    chances: Floats
    is_cell: Mask
    """Whether it is paired with a point: as many are as can be, whatever the threshold."""
    taken: Mask
    """Whether it was taken for a cell."""
    points: Floats

    @property
    def missed(self) -> int:
        """Cells that were neither asked about nor found."""
        return len(self.points) - int(self.is_cell.sum())


def ranked_in(one: Predicted, truth: CellsTruth, threshold: float) -> RankedPlaces:
    """All candidates of a region, or all peaks of its heatmap down to the lowest threshold."""
    found, chances = _by_rank(*one.cells(truth, threshold))
    below, low = _by_rank(*one.cells(truth, 0.0 if isinstance(one, JudgedCandidates) else THRESHOLDS[0]))
    rest = low < threshold - 0.5 / FULL
    places = np.concatenate([found, below[rest]])
    points = one.region.points
    size = np.array(one.region.volume.space.voxel_size) / 1000
    start = np.array(one.region.box.start)
    is_cell = ranked_matches(places * size, (points - start) * size, truth.tolerance)
    taken = np.arange(len(places)) < len(found)
    return RankedPlaces(places + start, np.concatenate([chances, low[rest]]), is_cell, taken, points)


def f1_of_cells(predicted: Sequence[Predicted], truth: CellsTruth, thresholds: Sequence[float]) -> Floats:
    """F1 of the cells found in some regions, at each threshold."""
    found, paired = np.zeros(len(thresholds)), np.zeros(len(thresholds))
    for one in predicted:
        counted = _judged_counts if isinstance(one, JudgedCandidates) else _found_counts
        more_found, more_paired = counted(one, truth, thresholds)
        found, paired = found + more_found, paired + more_paired
    both = found + sum(len(one.region.points) for one in predicted)
    return np.asarray(np.divide(2 * paired, both, out=np.ones_like(both), where=both > 0))


def _judged_counts(one: Predicted, truth: CellsTruth, thresholds: Sequence[float]) -> tuple[Floats, Floats]:
    """How many candidates are taken for cells at each threshold, and how many of them are paired."""
    ranked = ranked_in(one, truth, 0.0)
    found = np.array([(ranked.chances >= threshold - 0.5 / FULL).sum() for threshold in thresholds])
    return found, np.append(0, np.cumsum(ranked.is_cell))[found]


def _found_counts(one: Predicted, truth: CellsTruth, thresholds: Sequence[float]) -> tuple[Floats, Floats]:
    """How many peaks of a heatmap are found at each threshold, and how many of them are paired."""
    size = np.array(one.region.volume.space.voxel_size) / 1000
    true = (one.region.points - one.region.box.start) * size
    found = [one.cells(truth, threshold)[0] * size for threshold in thresholds]
    paired = [match_points(places, true, truth.tolerance).matched for places in found]
    return np.array([len(places) for places in found], float), np.array(paired, float)


def _by_rank(places: Floats, chances: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(-chances, kind="stable")
    return places[order], chances[order]
