"""Activation: what a network gives becomes numbers from 0 to 1."""

from __future__ import annotations

import torch

from chunkflow.networks.document import ModelDocument


def activate(given: torch.Tensor, document: ModelDocument) -> torch.Tensor:
    """The outputs of one patch (output, x, y, z) from 0 to 1, in single precision.

    Patch by patch: where a batch is one array, the last bits of a sigmoid depend on the place in it.
    """
    given = given.float()
    classes = set() if document.activated else set(document.indexes_of_classes)
    made: dict[int, torch.Tensor] = {}
    if classes:
        together = torch.softmax(given[sorted(classes)], 0)
        made = dict(zip(sorted(classes), together, strict=True))
    for index, output in enumerate(document.outputs):
        if index in made:
            continue
        if output.kind == "image":
            low, high = output.range
            made[index] = (given[index] - low) / (high - low)
        else:
            made[index] = given[index] if document.activated else torch.sigmoid(given[index])
    return torch.stack([made[index] for index in range(len(document.outputs))]).clamp_(0, 1)
