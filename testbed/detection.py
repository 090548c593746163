"""Real light-sheet volumes with known cells, and how well they are found."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from chunkflow.chunk import Chunk
from chunkflow.data.info import ImageInfo
from chunkflow.geometry import Box, vec
from chunkflow.kernels.images.gaussian import blob_sigma, difference_of_gaussians, white_noise_gain
from chunkflow.kernels.images.peaks import find_peaks
from chunkflow.kernels.images.threshold import BLOCK_DIAMETERS, SampledBlock, sample_block
from chunkflow.kernels.precomputed.morton import id_voxels
from chunkflow.kernels.scoring.matching import match_points
from chunkflow.kernels.scoring.scores import ranked_matches
from chunkflow.task import Cell, Layout
from tasks.cells.segment import Segment

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
VOXEL_NM = (1620.0, 1620.0, 6000.0)
TOLERANCE_UM = 10.0

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Tissue:
    """A real volume, and the size of its cells."""

    name: str
    file: str
    diameter: float

    @property
    def path(self) -> Path:
        return DATA / self.file

    def load(self) -> tuple[NDArray[np.uint16], Points]:
        """The image, and the centres of the truth's components in micrometres."""
        with np.load(self.path) as file:
            image, truth = np.asfortranarray(file["image"]), file["truth"] > 0
        components, count = ndimage.label(truth, np.ones((3, 3, 3)))
        return image, micrometres(np.array(ndimage.center_of_mass(truth, components, range(1, count + 1))))


BRAINS = {
    stain: tuple(
        Tissue(f"{stain} {brain}", f"light_sheet_{stain.replace('-', '').lower()}_{brain}.npz", diameter)
        for brain in brains
    )
    for stain, diameter, brains in (
        ("c-Fos", 12.0, (753, 969, 1147)),
        ("microglia", 14.0, (2248, 4704, 4923, 6003, 7095, 7853, 8858, 9758)),
    )
}
TISSUES = tuple(tissue for brains in BRAINS.values() for tissue in brains)
ONE_OF_EACH_STAIN = tuple(tissue for tissue in TISSUES if tissue.name in ("c-Fos 753", "microglia 6003"))


def micrometres(voxels: NDArray[Any]) -> Points:
    return np.asarray(voxels * (np.array(VOXEL_NM) / 1000))


def decided_by_segment(image: NDArray[np.uint16], diameter: float) -> dict[str, Any]:
    """The values that the task decides for a volume."""
    task, layout = _segment(image, diameter)
    samples = (Chunk(image[one.slices((0, 0, 0))], one, VOXEL_NM) for _, one in task.samples(layout))
    return task.prepare(layout, samples) or {}


def found_by_segment(image: NDArray[np.uint16], diameter: float) -> tuple[Points, dict[str, Any]]:
    """The peaks of the task's objects, in micrometres, and what it decided."""
    task, layout = _segment(image, diameter)
    values = decided_by_segment(image, diameter)
    box = layout.main.volume
    cell = Cell(0, box, box, box, VOXEL_NM, layout, values)
    labels = task.map(cell, Chunk(image, box, VOXEL_NM))[0].array
    return micrometres(id_voxels(np.unique(labels[labels > 0]), image.shape)), values


def _segment(image: NDArray[np.uint16], diameter: float) -> tuple[Segment, Layout]:
    info = ImageInfo(volume=Box.of_size(vec(image.shape)), voxel_size=VOXEL_NM, dtype="uint16")
    layout = Layout({"image": (info,)}, (64, 64, 64), (64, 64, 64))
    return Segment.model_validate({"image": "image", "labels": "labels", "diameter": diameter}), layout


def f1_score(found: Points, truth: Points) -> float:
    return match_points(found, truth, TOLERANCE_UM).f1


@dataclass(frozen=True)
class Peaks:
    """The peaks of a volume's response, and the blocks that its threshold is decided by."""

    places: Points
    heights: NDArray[np.float32]
    blocks: list[SampledBlock]
    truth: Points

    @classmethod
    def of(cls, image: NDArray[np.uint16], truth: Points, diameter: float) -> Peaks:
        sigma = blob_sigma(diameter * 1000, VOXEL_NM)
        response = difference_of_gaussians(image, sigma)
        voxels, heights = find_peaks(response, [(0, size) for size in image.shape])
        order = np.argsort(-heights, kind="stable")
        return cls(micrometres(voxels[order]), heights[order], _blocks(image, response, diameter), truth)

    def score(self, threshold: float) -> float:
        """The F1 of the peaks that reach a threshold."""
        return float(self.f1[int((self.heights >= np.float32(threshold)).sum())])

    @property
    def best(self) -> float:
        """The best F1 that any single threshold has."""
        return float(self.f1.max())

    @cached_property
    def f1(self) -> Points:
        """The F1 of the highest peaks, by how many they are."""
        matched = np.append(0, np.cumsum(ranked_matches(self.places, self.truth, TOLERANCE_UM)))
        return np.asarray(2 * matched / (np.arange(len(matched)) + len(self.truth)))


def _blocks(image: NDArray[np.uint16], response: NDArray[np.float32], diameter: float) -> list[SampledBlock]:
    counts = [
        max(1, round(n * size / (1000 * BLOCK_DIAMETERS * diameter)))
        for n, size in zip(response.shape, VOXEL_NM, strict=True)
    ]
    spans = [
        [(i * n // count, (i + 1) * n // count) for i in range(count)]
        for n, count in zip(response.shape, counts, strict=True)
    ]
    gain = white_noise_gain(blob_sigma(diameter * 1000, VOXEL_NM))
    return [
        sample_block(image[tuple(slice(*span) for span in core)], response, core, gain)
        for core in itertools.product(*spans)
    ]
