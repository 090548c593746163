"""Scores of a network on voxels that it has not learnt from, by the inference that the task `infer` has.

Cells are found as the task `detect` finds them, and paired with the points one to one. Where a network gives
one probability, the threshold is the one of the best F1.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
import torch

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, vec
from chunkflow.kernels.objects.heat_peaks import find_heat_peaks, offsets_within, peak_reach
from chunkflow.kernels.scoring.matching import match_points
from chunkflow.networks.architectures import Architecture
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.inference import TorchPredictor
from chunkflow.networks.placement import FULL, Patches
from chunkflow.networks.prediction import PatchSums, predict
from chunkflow.networks.setting import DeviceKind, InferenceSetting
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.state import Tensors
from chunkflow.networks.training.truths import NO_CLASS, ClassesTruth, Floats, PointsTruth
from chunkflow.networks.training.volumes import Mask, OpenedVolume
from chunkflow.networks.weights import LoadedModel

Steps = npt.NDArray[np.uint16]
THRESHOLDS = tuple(step / 20 for step in range(1, 20))
"""Those that cells are looked for at."""


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


@dataclass(frozen=True)
class Prediction:
    """What a network gives over a region, in whole steps from 0 to 65,535 (x, y, z, output)."""

    region: JudgedRegion
    steps: Steps


class Validation:
    """What a network that learns is judged by."""

    def __init__(self, recipe: NetworkRecipe, network: Architecture, volumes: Sequence[OpenedVolume]) -> None:
        self.device: DeviceKind = "cpu"
        if recipe.device == "cuda" or (recipe.device == "auto" and torch.cuda.is_available()):
            self.device = "cuda"
        self._recipe, self._network = recipe, copy.deepcopy(network).eval()
        self.regions = [
            JudgedRegion(volume, box, volume.judged(box)) for volume in volumes for box in volume.validation
        ]

    def score(self, weights: Tensors) -> tuple[float, tuple[float, ...]]:
        """F1 with these weights, and the threshold of the single output, where there is one."""
        predicted = self.predict(weights)
        truth = self._recipe.truth
        if isinstance(truth, ClassesTruth):
            return _score_of_classes(predicted, len(truth.names)), ()
        if isinstance(truth, PointsTruth):
            return _score_of_points(predicted, truth)
        return _score_of_labels(predicted)

    def predict(self, weights: Tensors) -> list[Prediction]:
        """What the network gives over all regions."""
        self._network.load_state_dict(weights)
        setting = InferenceSetting(self.device, self._recipe.precision, self._recipe.threads)
        nothing = torch.zeros(0)
        predictor = TorchPredictor(
            LoadedModel(self._recipe.document, self._network, nothing, nothing), setting
        )
        return [Prediction(region, _predicted(predictor, region)) for region in self.regions]

    def refuse_nothing(self) -> None:
        """Raise BadInput where there is nothing by which a network could be judged while it learns."""
        truth = self._recipe.truth
        if isinstance(truth, PointsTruth):
            if not any(len(region.points) for region in self.regions):
                raise BadInput(
                    "No point lies in the boxes of validation: choose boxes with some in `validation`."
                )
            return
        names = dict(enumerate(truth.names.values())) if isinstance(truth, ClassesTruth) else {1: truth.name}
        seen = {int(n) for r in self.regions for n in np.unique(r.volume.truth.over(r.box)[0][r.judged])}
        absent = [name for number, name in names.items() if number not in seen]
        if absent:
            raise BadInput(
                f"The boxes of validation have nothing of {', '.join(absent)}: choose boxes that have all "
                "classes in `validation`."
            )


def _predicted(predictor: TorchPredictor, region: JudgedRegion) -> Steps:
    document: ModelDocument = predictor.document
    window = region.box.grow(vec(document.overlap)).clip(region.volume.space.volume)
    patches = Patches(window, document.patch, document.overlap)
    covered = patches.window(region.box)
    sums = PatchSums.over(region.box, document)
    channels = region.volume.channels.over(covered)
    predict(predictor, channels, covered, list(patches.meeting(region.box)), sums, 1)
    return sums.stored(document, "uint16").astype(np.uint16, copy=False)


def _score_of_classes(predicted: Sequence[Prediction], count: int) -> float:
    """F1 of the most likely class, in the mean over classes."""
    pairs = np.zeros(count * count, np.int64)
    for one in predicted:
        truth = one.region.volume.truth.over(one.region.box)[0]
        known = one.region.judged & (truth != NO_CLASS)
        found = one.steps[known].argmax(axis=-1)
        pairs += np.bincount(truth[known].astype(np.int64) * count + found, minlength=count * count)
    table = pairs.reshape(count, count)
    return float(np.mean(2 * table.diagonal() / np.maximum(table.sum(axis=0) + table.sum(axis=1), 1)))


def _score_of_labels(predicted: Sequence[Prediction]) -> tuple[float, tuple[float, ...]]:
    """F1 of voxels at the best threshold, and that."""
    counts = np.zeros((2, FULL + 1), np.int64)
    for one in predicted:
        truth, steps = one.region.volume.truth.over(one.region.box)[0], one.steps[..., 0]
        for value in (0, 1):
            chosen = steps[one.region.judged & (truth == value)]
            counts[value] += np.bincount(chosen, minlength=FULL + 1)
    wrong, right = (np.cumsum(row[::-1])[::-1] for row in counts)
    f1 = 2 * right / np.maximum(wrong + right + right[0], 1)
    best = int(f1[1:].argmax()) + 1  # at 0 every voxel would be found
    return float(f1[best]), (best / FULL,)


def _score_of_points(predicted: Sequence[Prediction], truth: PointsTruth) -> tuple[float, tuple[float, ...]]:
    """F1 of cells at the best threshold, and that."""
    scores = []
    for threshold in THRESHOLDS:
        found, points = detected_cells(predicted, truth, threshold)[::2]
        scores.append(match_points(found, points, truth.tolerance).f1)
    best = int(np.argmax(scores))
    return scores[best], (THRESHOLDS[best],)


def detected_cells(
    predicted: Sequence[Prediction], truth: PointsTruth, threshold: float
) -> tuple[Floats, Floats, Floats]:
    """Places and probabilities of the cells found in all regions, and the points; places in micrometres, each
    region so far from the others that nothing of one is near another."""
    places, chances, points = [np.zeros((0, 3))], [np.zeros(0)], [np.zeros((0, 3))]
    shift = 0.0
    for one in predicted:
        region = one.region
        voxel = region.volume.space.voxel_size
        size = np.array(voxel) / 1000
        heat, box = one.steps[..., 0], Box.of_size(region.box.size)
        least = ceil(threshold * FULL - 1e-6)
        radii, half = peak_reach(truth.diameter * 1000, voxel)
        peaks = find_heat_peaks(heat, [(0, n) for n in box.size], least, half, offsets_within(radii))
        found = peaks.centres((0, 0, 0))
        kept = region.has(found + region.box.start)
        apart = np.array([shift, 0.0, 0.0])
        places.append(found[kept] * size + apart)
        chances.append(peaks.heights[kept] / FULL)
        points.append((region.points - region.box.start) * size + apart)
        shift += region.box.size[0] * size[0] + 10 * truth.tolerance
    return np.concatenate(places), np.concatenate(chances), np.concatenate(points)
