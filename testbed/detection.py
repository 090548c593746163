"""Real light-sheet volumes with known cells, and how well they are found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from chunkflow.chunk import Chunk
from chunkflow.data.info import ImageInfo
from chunkflow.geometry import Box, vec
from chunkflow.kernels.images.gaussian import blob_sigma, difference_of_gaussians
from chunkflow.kernels.images.threshold import BLOCK_DIAMETERS, Rule, decide_threshold, response_peaks
from chunkflow.kernels.precomputed.morton import id_voxels
from chunkflow.kernels.scoring.matching import match_points
from chunkflow.task import Cell, Layout
from tasks.cells.segment import Segment

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
VOXEL_NM = (1620.0, 1620.0, 6000.0)
TOLERANCE_UM = 10.0
FACTORS = (0.5, 0.71, 1.41, 2.0)

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Tissue:
    """A real volume, the size of its cells, and the F1 that is asked for."""

    name: str
    file: str
    diameter: float
    wanted: float

    @property
    def path(self) -> Path:
        return DATA / self.file

    def load(self) -> tuple[NDArray[np.uint16], Points]:
        """The image, and the centres of the truth's components in micrometres."""
        with np.load(self.path) as file:
            image, truth = np.asfortranarray(file["image"]), file["truth"] > 0
        components, count = ndimage.label(truth, np.ones((3, 3, 3)))
        return image, micrometres(np.array(ndimage.center_of_mass(truth, components, range(1, count + 1))))


TISSUES = (
    Tissue("c-Fos", "light_sheet_cfos_753.npz", 12.0, 0.58),
    Tissue("microglia", "light_sheet_microglia_6003.npz", 14.0, 0.90),
)


def micrometres(voxels: NDArray[Any]) -> Points:
    return np.asarray(voxels * (np.array(VOXEL_NM) / 1000))


def found_by_segment(image: NDArray[np.uint16], diameter: float) -> tuple[Points, dict[str, Any]]:
    """The peaks of the task's objects, in micrometres, and what it decided."""
    box = Box.of_size(vec(image.shape))
    info = ImageInfo(volume=box, voxel_size=VOXEL_NM, dtype="uint16")
    layout = Layout({"image": (info,)}, (64, 64, 64), (64, 64, 64))
    task = Segment.model_validate({"image": "image", "labels": "labels", "diameter": diameter})
    samples = (Chunk(image[one.slices((0, 0, 0))], one, VOXEL_NM) for _, one in task.samples(layout))
    values = task.prepare(layout, samples) or {}
    cell = Cell(0, box, box, box, VOXEL_NM, layout, values)
    labels = task.map(cell, Chunk(image, box, VOXEL_NM))[0].array
    return micrometres(id_voxels(np.unique(labels[labels > 0]), image.shape)), values


def f1_score(found: Points, truth: Points) -> float:
    return match_points(found, truth, TOLERANCE_UM).f1


@dataclass(frozen=True)
class Scan:
    """The F1 of one constant of the rule, at FACTORS of its value."""

    name: str
    scores: tuple[float, ...]


def scan(image: NDArray[np.uint16], truth: Points, diameter: float) -> tuple[float, Iterator[Scan]]:
    """The best F1 that any single threshold has, and that of the rule with each constant changed."""
    response = difference_of_gaussians(image, blob_sigma(diameter * 1000, VOXEL_NM))
    places = np.argwhere((response == ndimage.maximum_filter(response, 3)) & (response > 0))
    heights = response[tuple(places.T)]
    blocks = _blocks(response, diameter)

    def score(threshold: float) -> float:
        return f1_score(micrometres(places[heights >= threshold]), truth)

    def changed() -> Iterator[Scan]:
        for field in fields(Rule):
            value = getattr(Rule(), field.name)
            rules = [replace(Rule(), **{field.name: type(value)(value * factor)}) for factor in FACTORS]
            yield Scan(field.name, tuple(score(decide_threshold(blocks, rule).threshold) for rule in rules))

    return max(score(at) for at in np.geomspace(200, 1000, 40)), changed()


def _blocks(response: NDArray[np.float32], diameter: float) -> list[NDArray[np.float32]]:
    counts = [
        max(1, round(n * size / (1000 * BLOCK_DIAMETERS * diameter)))
        for n, size in zip(response.shape, VOXEL_NM, strict=True)
    ]
    spans = [
        [(i * n // count, (i + 1) * n // count) for i in range(count)]
        for n, count in zip(response.shape, counts, strict=True)
    ]
    return [response_peaks(response, (x, y, z)) for x in spans[0] for y in spans[1] for z in spans[2]]
