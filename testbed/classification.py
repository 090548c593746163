"""Candidates for cells of real volumes, and how well a classifier tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from chunkflow.people.learning.scores import Examples, Judged, best_threshold, cross_validate, usual_folds
from chunkflow.task import Cell, Layout
from tasks.cells.measure import Measure
from tasks.cells.segment import Segment
from testbed.detection import (
    TOLERANCE_UM,
    VOXEL_NM,
    Points,
    Tissue,
    decided_by_segment,
    f1_score,
    found_by_segment,
)

TREES = "sklearn.ensemble:ExtraTreesClassifier"
TREES_PARAMETERS = {"n_estimators": 150, "min_samples_leaf": 3, "max_features": None}
CONTRASTS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Diameters, in those of a cell."""
SURROUND_UM = 20.0
FACTORS = (0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1)
MORE = 4
BLOCKS = 3
PERMISSIVE = 0.3
"""Candidates are the objects whose peak has this part of the automatic contrast."""


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
    return compared(rows, image.shape, truth)


def permissive_candidates(tissue: Tissue) -> Candidates:
    """The candidates of a volume at a fixed part of the automatic threshold."""
    image, truth = tissue.load()
    threshold = PERMISSIVE * float(decided_by_segment(image, tissue.diameter)["threshold"])
    return compared(measured(image, tissue.diameter, threshold), image.shape, truth)


def compared(rows: pa.Table, shape: Sequence[int], truth: Points) -> Candidates:
    """Candidates, with which of them are cells."""
    half = np.array(VOXEL_NM) / 2000  # the truth's places count from the middle of the first voxel
    places = np.stack([rows[f"{axis}_um"].to_numpy() for axis in "xyz"], 1) - half
    is_cell = np.zeros(len(rows), np.int64)
    is_cell[matched_pairs(places, truth, TOLERANCE_UM)[:, 0]] = 1
    extent = np.array(shape) * VOXEL_NM / 1000
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
    samples = ([Chunk(image[one.slices((0, 0, 0))], one, VOXEL_NM)] for _, one in measure.samples(layout))
    cell = replace(cell, values=measure.prepare(layout, samples) or {})
    return measure.finish(cell, measure.merge(measure.map(cell, labels, [chunk])))


def carried_over(
    found: Sequence[Candidates], estimator: str, patterns: tuple[str, ...], grouped: bool = True
) -> list[float]:
    """The F1 on each brain of a classifier, threshold included, that has learnt from the others alone."""
    recipe, scores = Recipe.of(estimator, {}, seed=0), []
    for held_out in found:
        others = [one for one in found if one is not held_out]
        parts = [one.examples(patterns) for one in others]
        groups = np.concatenate([np.full(len(part.classes), n) for n, part in enumerate(parts)])
        features = np.concatenate([part.features for part in parts])
        classes = np.concatenate([part.classes for part in parts])
        examples = Examples(features, classes, parts[0].names, groups if grouped else None)
        judged = cross_validate(recipe.build, examples, usual_folds(examples), 0, None)
        threshold = best_threshold(judged.probabilities[:, 1], examples, 1)
        fitted = recipe.build(examples.smallest).fit(features, classes)
        probabilities = fitted.predict_proba(held_out.examples(patterns).features)[:, 1]
        scores.append(f1_score(held_out.places[probabilities >= threshold], held_out.truth))
    return scores


def judged_by_trees(found: Candidates) -> Judged:
    """By the features, estimator and threshold that are recommended where cells are hard to tell."""
    patterns = (*FEATURES, "image_contrast_*", "image_surround")
    return judge(found, TREES, TREES_PARAMETERS, patterns)


def judge(found: Candidates, estimator: str, parameters: dict[str, Any], patterns: tuple[str, ...]) -> Judged:
    recipe = Recipe.of(estimator, parameters, seed=0)
    return cross_validate(recipe.build, found.examples(patterns), BLOCKS**2, 0, positive=1)
