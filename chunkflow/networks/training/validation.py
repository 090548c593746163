"""Scores of a network where it has not learnt, by the inference of the tasks `infer` and `judge`.

Cells are found as the task `detect` finds them, or are the candidates that are likely enough; they are paired
with the points one to one. Where a network gives one probability, the threshold is the one of the best F1; of
cells in the mean over volumes, so that the many of one volume do not decide for all.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from chunkflow.errors import BadInput
from chunkflow.geometry import around, vec
from chunkflow.networks.architectures import Architecture
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.inference import TorchJudge, TorchPredictor
from chunkflow.networks.judging import BATCH, judge_patches, patches_around
from chunkflow.networks.placement import FULL, Patches
from chunkflow.networks.prediction import PatchSums, predict
from chunkflow.networks.setting import DeviceKind, InferenceSetting
from chunkflow.networks.training.blocks import SIDE
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.regions import (
    FINE_THRESHOLDS,
    THRESHOLDS,
    Controls,
    JudgedCandidates,
    JudgedRegion,
    Predicted,
    Prediction,
    Steps,
    controls_of,
    f1_of_cells,
    voxelwise,
)
from chunkflow.networks.training.state import Tensors
from chunkflow.networks.training.truths import NO_CLASS, CandidatesTruth, CellsTruth, ClassesTruth, Floats
from chunkflow.networks.weights import LoadedModel


class Validation:
    """What a network that learns is judged by."""

    def __init__(self, recipe: NetworkRecipe, network: Architecture, regions: Sequence[JudgedRegion]) -> None:
        self.device: DeviceKind = "cpu"
        if recipe.device == "cuda" or (recipe.device == "auto" and torch.cuda.is_available()):
            self.device = "cuda"
        self._recipe, self._network = recipe, copy.deepcopy(network).eval()
        self.regions = regions

    def score(self, weights: Tensors) -> tuple[float, tuple[float, ...]]:
        """F1 with these weights, and the threshold of the single output, where there is one."""
        predicted = self.predict(weights)
        truth = self._recipe.truth
        if isinstance(truth, ClassesTruth):
            return _score_of_classes(voxelwise(predicted), len(truth.names)), ()
        if isinstance(truth, CellsTruth):
            return _score_of_cells(predicted, truth)
        return _score_of_labels(voxelwise(predicted))

    def predict(self, weights: Tensors) -> list[Predicted]:
        """What the network gives over all regions."""
        self._network.load_state_dict(weights)
        setting = InferenceSetting(self.device, self._recipe.precision, self._recipe.threads)
        nothing = torch.zeros(0)
        model = LoadedModel(self._recipe.document, self._network, nothing, nothing)
        if self._recipe.judges:
            judge = TorchJudge(model, setting)
            return [_judged(judge, region, self._recipe) for region in self.regions]
        predictor = TorchPredictor(model, setting)
        return [_predicted(predictor, region, self._recipe) for region in self.regions]

    def refuse_nothing(self) -> None:
        """Raise BadInput where there is nothing by which a network could be judged while it learns."""
        truth = self._recipe.truth
        if isinstance(truth, CellsTruth):
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


def _predicted(predictor: TorchPredictor, region: JudgedRegion, recipe: NetworkRecipe) -> Prediction:
    document: ModelDocument = predictor.document
    window = region.box.grow(vec(document.overlap)).clip(region.volume.space.volume)
    patches = Patches(window, document.patch, document.overlap)
    covered = patches.window(region.box)
    sums = PatchSums.over(region.box, document)
    channels = region.volume.channels.over(covered)
    predict(predictor, channels, covered, list(patches.meeting(region.box)), sums, 1)
    steps = sums.stored(document, "uint16").astype(np.uint16, copy=False)
    if not isinstance(recipe.truth, CellsTruth):
        return Prediction(region, steps)
    places, is_cell = controls_of(region, recipe.seed)
    said = steps[(*(np.floor(places).astype(np.int64) - region.box.start).T, 0)]
    return Prediction(region, steps, Controls(places, is_cell, said / FULL))


def _judged(judge: TorchJudge, region: JudgedRegion, recipe: NetworkRecipe) -> JudgedCandidates:
    assert region.volume.candidates is not None
    candidates = region.volume.candidates[region.has(region.volume.candidates)]
    controls, is_cell = controls_of(region, recipe.seed)
    steps = _judged_at(judge, region, np.concatenate([candidates, controls]), recipe)
    found, said = np.split(steps, [len(candidates)])
    return JudgedCandidates(region, candidates, found, Controls(controls, is_cell, said / FULL))


def _judged_at(judge: TorchJudge, region: JudgedRegion, places: Floats, recipe: NetworkRecipe) -> Steps:
    """The answers to the patches around places, a block of space at a time."""
    steps = np.zeros(len(places), np.uint16)
    voxels = np.floor(places).astype(np.int64)
    of_block = np.unique(voxels // np.array(SIDE), axis=0, return_inverse=True)[1].ravel()
    for block in range(of_block.max(initial=-1) + 1):
        rows = np.flatnonzero(of_block == block)
        patches = patches_around(voxels[rows], recipe.learnt_patch)
        window = around(patches)
        channels = region.volume.channels.over(window)
        steps[rows] = judge_patches(judge, channels, window, patches, BATCH)[:, 0]
    return steps


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


def _score_of_cells(predicted: Sequence[Predicted], truth: CellsTruth) -> tuple[float, tuple[float, ...]]:
    """F1 of cells at the best threshold, in the mean over volumes, and that."""
    volumes: dict[int, list[Predicted]] = {}
    for one in predicted:
        volumes.setdefault(id(one.region.volume), []).append(one)
    marked = [group for group in volumes.values() if any(len(one.region.points) for one in group)]
    thresholds = FINE_THRESHOLDS if isinstance(truth, CandidatesTruth) else THRESHOLDS
    scores = np.mean([f1_of_cells(group, truth, thresholds) for group in marked], axis=0)
    best = int(scores.argmax())
    return float(scores[best]), (thresholds[best],)
