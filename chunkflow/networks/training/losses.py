"""Losses: how far a network's logits are from the truth, where that is known.

Outputs weigh by their rarity, which is found once, in the first examples of a training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from chunkflow.networks.training.examples.voxels import Example
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.truths import ClassesTruth

SMALLEST_SHARE = 1e-6
SMOOTHING = 1.0
"""Of the Dice coefficient: voxels added to both sides, so that nothing is divided by 0."""


def output_weights(recipe: NetworkRecipe, examples: Sequence[Example]) -> torch.Tensor:
    """How much each class weighs; of a single output, how much more 1 weighs than 0."""
    total = max(sum(int(example.known.sum()) for example in examples), 1)
    if not isinstance(recipe.truth, ClassesTruth):
        share = sum(float(example.truth[example.known].sum()) for example in examples) / total
        share = min(max(share, SMALLEST_SHARE), 1 - SMALLEST_SHARE)
        return torch.tensor([max((1 - share) / share, 1.0) ** recipe.balance], dtype=torch.float32)
    counts = sum(
        np.bincount(example.truth[example.known].ravel(), minlength=len(recipe.truth.names))
        for example in examples
    )
    shares = np.maximum(np.asarray(counts) / total, SMALLEST_SHARE)
    weights = shares**-recipe.balance
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def loss_of(
    recipe: NetworkRecipe,
    weights: torch.Tensor,
    logits: torch.Tensor,
    truth: torch.Tensor,
    known: torch.Tensor,
) -> torch.Tensor:
    """The loss of a batch: logits (patch, output, x, y, z), truth and where it is known (patch, x, y, z)."""
    if isinstance(recipe.truth, ClassesTruth):
        numbers = torch.where(known, truth, 0).long()
        each = cross_entropy(logits, numbers, reduction="none")
        weight = weights[numbers] * known
        chance = torch.softmax(logits, 1)
        due = one_hot(numbers, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    else:
        due = truth[:, None].to(logits.dtype)
        each = binary_cross_entropy_with_logits(logits, due, reduction="none")[:, 0]
        weight = (1 + (weights[0] - 1) * due[:, 0]) * known
        chance = torch.sigmoid(logits)
    crossed = (each * weight).sum() / weight.sum().clamp_min(SMALLEST_SHARE)
    if recipe.loss == "cross-entropy":
        return crossed
    apart = _dice_loss(chance * known[:, None], due * known[:, None])
    return apart if recipe.loss == "dice" else crossed + apart


def _dice_loss(chance: torch.Tensor, due: torch.Tensor) -> torch.Tensor:
    """1 less the Dice coefficient, in the mean over outputs."""
    axes = (0, 2, 3, 4)
    shared = (chance * due).sum(axes)
    both = chance.sum(axes) + due.sum(axes)
    return (1 - (2 * shared + SMOOTHING) / (both + SMOOTHING)).mean()
