"""Settings tuned on 20 cells of one region, and how far they are from the best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunkflow.chunk import Chunk
from chunkflow.geometry import Box, vec
from chunkflow.kernels.images.threshold import PEAK_RATIO
from chunkflow.kernels.scoring.matching import match_points
from chunkflow.kernels.scoring.tuning import Ranked, rank
from chunkflow.people.learning.automatic import Automatic
from chunkflow.people.learning.tune_region import Region
from chunkflow.people.learning.tuning import DIAMETERS_UM, Tuned, diameters_around
from testbed.detection import TOLERANCE_UM, VOXEL_NM, Tissue, decided_by_segment

CELLS = 20
DRAWS = 50
SEED = 0
MEDIAN, NINETIETH, LARGEST = 0.02, 0.06, 0.15
"""Losses of F1 that are asked for. The largest is kept in all volumes, the others in some: on c-Fos the best
contrast of a region is 0.4 octaves off the volume's, and half of that would be needed for such a median."""

Points = NDArray[np.float64]
SIZE_UM = np.array(VOXEL_NM) / 1000


@dataclass(frozen=True)
class Tried:
    """A volume, its cells, the peaks of every diameter in all of it, and the automatic setting."""

    image: Chunk
    cells: Points
    peaks: tuple[Ranked, ...]
    automatic: Automatic

    @classmethod
    def of(cls, tissue: Tissue) -> Tried:
        array, cells = tissue.load()
        box = Box.of_size(vec(array.shape))
        whole = Region(box, cells + SIZE_UM / 2, Chunk(array, box, VOXEL_NM), box, TOLERANCE_UM)
        peaks = tuple(whole.ranked_by(diameters_around(tissue.diameter, *DIAMETERS_UM)))
        decided = decided_by_segment(array, tissue.diameter)
        automatic = Automatic(tissue.diameter, PEAK_RATIO * decided["threshold"])
        return cls(whole.window, whole.cells, peaks, automatic)

    @property
    def best(self) -> float:
        """The best F1 of all settings over the whole volume."""
        return max(float(_f1(one, len(self.cells)).max()) for one in self.peaks)

    @property
    def best_given(self) -> float:
        """The best F1 of all contrasts at the diameter given."""
        return float(_f1(self._of_diameter(self.automatic.diameter), len(self.cells)).max())

    def score(self, diameter: float, contrast: float) -> float:
        """The F1 of one setting over the whole volume."""
        one = self._of_diameter(diameter)
        taken = one.places[one.heights >= np.float32(contrast)]
        return match_points(taken, self.cells, TOLERANCE_UM).f1

    def region(self, box: Box) -> Region:
        places = self.cells / SIZE_UM
        inside = ((places >= np.array(box.start)) & (places < np.array(box.stop))).all(axis=1)
        return Region(box, self.cells[inside], self.image, self.image.box, TOLERANCE_UM)

    def tuned(self, region: Region) -> Tuned:
        """The tuning on a region; a peak is the same in every window, so it is not found again."""
        ranked = []
        low, high = (np.array(end) * SIZE_UM for end in (region.searched.start, region.searched.stop))
        for one in self.peaks:
            near = ((one.places >= low) & (one.places < high)).all(axis=1)
            places, heights = one.places[near], one.heights[near]
            inside = region.judges(places)
            ranked.append(rank(one.diameter, places, heights, inside, region.cells, TOLERANCE_UM))
        return Tuned.of(region, ranked, self.automatic, "image", 0, "points")

    def _of_diameter(self, diameter: float) -> Ranked:
        return next(peaks for peaks in self.peaks if peaks.diameter == diameter)


def _f1(peaks: Ranked, cells: int) -> Points:
    matched = np.cumsum(peaks.matches)
    return np.asarray(2 * matched / (np.arange(1, len(matched) + 1) + cells))


def boxes(tried: Tried, draws: int, cells: int = CELLS, seed: int = SEED) -> Iterator[Box]:
    """Cubes (in micrometres) around random places that hold so many cells, or all, clipped to the volume."""
    random = np.random.default_rng(seed)
    volume = tried.image.box
    cells = min(cells, len(tried.cells))
    for _ in range(draws):
        centre = random.random(3) * volume.size * SIZE_UM
        half = np.sort(np.abs(tried.cells - centre).max(axis=1))[cells - 1]
        yield Box(vec(np.floor((centre - half) / SIZE_UM)), vec(np.ceil((centre + half) / SIZE_UM))).clip(
            volume
        )


@dataclass(frozen=True)
class Losses:
    """F1 over the whole volume of what each of many regions proposed, below what was to be had."""

    any: Points
    """Below the best of all diameters and contrasts."""
    given: Points
    """Below the best contrast at the diameter given."""
    automatic: Points
    """Below the automatic setting."""
    chosen: float
    """The share of regions that proposed what their cells chose, and not the automatic setting."""


def losses(tried: Tried, draws: int = DRAWS, cells: int = CELLS) -> Losses:
    """What the proposals of so many regions lack."""
    tuned = [tried.tuned(tried.region(box)) for box in boxes(tried, draws, cells)]
    scores = np.array([tried.score(one.proposed.diameter, one.proposed.contrast) for one in tuned])
    automatic = tried.score(tried.automatic.diameter, tried.automatic.contrast)
    chosen = float(np.mean([one.gain.shown for one in tuned]))
    return Losses(tried.best - scores, tried.best_given - scores, automatic - scores, chosen)
