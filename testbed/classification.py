"""Candidates for cells of real volumes, and how well a classifier tells them apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from chunkflow.chunk import Chunk
from chunkflow.data.info import ImageInfo
from chunkflow.geometry import Box, vec
from chunkflow.kernels.scoring.matching import matched_pairs
from chunkflow.people.learning.estimator import Recipe
from chunkflow.people.learning.features import FEATURES, choose_features, feature_rows
from chunkflow.people.learning.scores import Examples, Judged, cross_validate
from chunkflow.task import Cell, Layout
from tasks.cells.measure import Measure
from tasks.cells.segment import Segment
from testbed.detection import TOLERANCE_UM, VOXEL_NM, Points, Tissue, f1_score, found_by_segment

TREES = "sklearn.ensemble:ExtraTreesClassifier"
TREES_PARAMETERS = {"n_estimators": 150, "min_samples_leaf": 3, "max_features": None}
CONTRASTS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Diameters, in those of a cell."""
SURROUND_UM = 20.0
FACTORS = (0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1)
MORE = 4
BLOCKS = 3


@dataclass(frozen=True)
class Candidates:
    """Objects found at a permissive threshold, where they are, and which of them are cells."""

    rows: pa.Table
    places: Points
    is_cell: NDArray[np.int64]
    blocks: NDArray[np.int64]
    truth: Points

    def examples(self, patterns: tuple[str, ...]) -> Examples:
        features = feature_rows(self.rows, choose_features(self.rows.schema, patterns))
        return Examples(features, self.is_cell, ("no cell", "cell"), self.blocks)

    def f1(self, judged: Judged) -> float:
        return f1_score(self.places[judged.decided == 1], self.truth)


def candidates(tissue: Tissue) -> Candidates:
    """The candidates of a volume, measured and compared with the truth."""
    image, truth = tissue.load()
    found, values = found_by_segment(image, tissue.diameter)
    for factor in FACTORS:
        rows = measured(image, tissue.diameter, factor * float(values["threshold"]))
        if len(rows) >= MORE * len(found):
            break
    half = np.array(VOXEL_NM) / 2000  # the truth's places count from the middle of the first voxel
    places = np.stack([rows[f"{axis}_um"].to_numpy() for axis in "xyz"], 1) - half
    is_cell = np.zeros(len(rows), np.int64)
    is_cell[matched_pairs(places, truth, TOLERANCE_UM)[:, 0]] = 1
    extent = np.array(image.shape) * VOXEL_NM / 1000
    block = np.minimum((places[:, :2] / extent[:2] * BLOCKS).astype(np.int64), BLOCKS - 1)
    return Candidates(rows, places, is_cell, block[:, 0] * BLOCKS + block[:, 1], truth)


def measured(image: NDArray[np.uint16], diameter: float, threshold: float) -> pa.Table:
    """What `segment` finds at a threshold, as `measure` measures it, in one piece."""
    box = Box.of_size(vec(image.shape))
    info = ImageInfo(volume=box, voxel_size=VOXEL_NM, dtype="uint16")
    layout = Layout({"labels": (info,), "images": (info,)}, (64, 64, 64), (64, 64, 64))
    cell, chunk = Cell(0, box, box, box, VOXEL_NM, layout, {}), Chunk(image, box, VOXEL_NM)
    fields = {"image": "image", "labels": "labels", "diameter": diameter, "threshold": threshold}
    segment = Segment.model_validate(fields)
    labels, _ = segment.map(cell, chunk)
    measure = Measure(
        labels="labels",
        images=["image"],
        objects="objects",
        contrasts=[round(factor * diameter, 2) for factor in CONTRASTS],
        surround=SURROUND_UM,
    )
    return measure.finish(cell, measure.merge(measure.map(cell, labels, [chunk])))


def judged_by_trees(found: Candidates) -> Judged:
    """By the features, estimator and threshold that are recommended where cells are hard to tell."""
    patterns = (*FEATURES, "image_contrast_*", "image_surround")
    return judge(found, TREES, TREES_PARAMETERS, patterns)


def judge(found: Candidates, estimator: str, parameters: dict[str, Any], patterns: tuple[str, ...]) -> Judged:
    recipe = Recipe.of(estimator, parameters, seed=0)
    return cross_validate(recipe.build, found.examples(patterns), BLOCKS**2, 0, positive=1)
