"""Settings tuned on 20 cells of one region, and how far they are from the best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunkflow.chunk import Chunk
from chunkflow.geometry import Box, vec
from chunkflow.kernels.scoring.matching import match_points
from chunkflow.kernels.scoring.tuning import Ranked, ScoreSurface, rank
from chunkflow.people.learning.tune_region import Region
from chunkflow.people.learning.tuning import DIAMETERS_UM, diameters_between
from testbed.detection import TOLERANCE_UM, VOXEL_NM, Tissue

CELLS = 20
DRAWS = 50
SEED = 0
LARGEST_GAP = 0.03

Points = NDArray[np.float64]
SIZE_UM = np.array(VOXEL_NM) / 1000


@dataclass(frozen=True)
class Tried:
    """A volume, its cells, and the peaks of every diameter in all of it."""

    image: Chunk
    cells: Points
    peaks: tuple[Ranked, ...]

    @classmethod
    def of(cls, tissue: Tissue) -> Tried:
        array, cells = tissue.load()
        box = Box.of_size(vec(array.shape))
        whole = Region(box, cells + SIZE_UM / 2, Chunk(array, box, VOXEL_NM), box, TOLERANCE_UM)
        peaks = tuple(whole.ranked(diameter) for diameter in diameters_between(*DIAMETERS_UM))
        return cls(whole.window, whole.cells, peaks)

    @property
    def best(self) -> float:
        """The best F1 of all settings over the whole volume."""
        return max(float(_f1(one, len(self.cells)).max()) for one in self.peaks)

    def score(self, diameter: float, contrast: float) -> float:
        """The F1 of one setting over the whole volume."""
        one = next(peaks for peaks in self.peaks if peaks.diameter == diameter)
        taken = one.places[one.heights >= np.float32(contrast)]
        return match_points(taken, self.cells, TOLERANCE_UM).f1

    def region(self, box: Box) -> Region:
        places = self.cells / SIZE_UM
        inside = ((places >= np.array(box.start)) & (places < np.array(box.stop))).all(axis=1)
        return Region(box, self.cells[inside], self.image, self.image.box, TOLERANCE_UM)

    def surface(self, region: Region) -> ScoreSurface:
        """What tuning sees of a region; a peak is the same in every window, so it is not found again."""
        ranked = []
        low, high = (np.array(end) * SIZE_UM for end in (region.searched.start, region.searched.stop))
        for one in self.peaks:
            near = ((one.places >= low) & (one.places < high)).all(axis=1)
            places, heights = one.places[near], one.heights[near]
            inside = region.judges(places)
            ranked.append(rank(one.diameter, places, heights, inside, region.cells, TOLERANCE_UM))
        return ScoreSurface.of(ranked, len(region.cells))


def _f1(peaks: Ranked, cells: int) -> Points:
    matched = np.cumsum(peaks.matches)
    return np.asarray(2 * matched / (np.arange(1, len(matched) + 1) + cells))


def boxes(tried: Tried, draws: int, cells: int = CELLS, seed: int = SEED) -> Iterator[Box]:
    """Cubes (in micrometres) around random places that hold so many cells, clipped to the volume."""
    random = np.random.default_rng(seed)
    volume = tried.image.box
    for _ in range(draws):
        centre = random.random(3) * volume.size * SIZE_UM
        half = np.sort(np.abs(tried.cells - centre).max(axis=1))[cells - 1]
        yield Box(vec(np.floor((centre - half) / SIZE_UM)), vec(np.ceil((centre + half) / SIZE_UM))).clip(
            volume
        )


def gaps(tried: Tried, draws: int = DRAWS, cells: int = CELLS) -> Points:
    """What each region's choice lacks of the best."""
    chosen = [tried.surface(tried.region(box)).chosen() for box in boxes(tried, draws, cells)]
    return tried.best - np.array([tried.score(*setting) for setting in chosen])
