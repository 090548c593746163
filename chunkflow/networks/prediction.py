"""Prediction over a box of any size: patches through a network, added up in whole numbers.

1. Each patch's output is rounded to 16 bits and weighted with whole numbers that are largest in its middle.
2. Sums and weights are added up as whole numbers, so the order of patches does not matter, nor who else
   computes the same patch for a neighbouring box.
3. They are divided once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Box
from chunkflow.kernels.images.patch_sums import add_patch, means_in_range, means_in_steps
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.placement import Patches, bump_weights

Stored = Literal["uint8", "uint16", "float32"]
STEPS = {"uint8": 255, "uint16": 65535}


class Predictor(Protocol):
    """A network that is ready to run."""

    document: ModelDocument

    def submit(self, patches: npt.NDArray[np.float32], batch: int) -> Callable[[], npt.NDArray[np.uint16]]:
        """Begin with patches (patch, channel, x, y, z), filled up to a batch; calling what is returned waits
        for the answer (patch, output, x, y, z), from 0 to 65,535."""


@dataclass
class PatchSums:
    """Sums of the patches that meet in the voxels of a box."""

    box: Box
    sums: npt.NDArray[np.uint32]
    weights: npt.NDArray[np.uint32]
    bump: npt.NDArray[np.uint16]

    @classmethod
    def over(cls, box: Box, document: ModelDocument) -> PatchSums:
        """Nothing yet."""
        outputs = len(document.outputs)
        return cls(
            box,
            np.zeros((outputs, *box.size), np.uint32),
            np.zeros(box.size, np.uint32),
            bump_weights(document.patch, document.overlap),
        )

    def add(self, patches: Sequence[Box], answers: npt.NDArray[np.uint16]) -> None:
        for patch, answer in zip(patches, answers, strict=True):
            place = tuple(a - b for a, b in zip(patch.start, self.box.start, strict=True))
            add_patch(self.sums, self.weights, answer, self.bump, place)

    def stored(self, document: ModelDocument, dtype: Stored) -> npt.NDArray[np.generic]:
        """The means (x, y, z, output) as they are stored; 0 where there was no patch."""
        made = np.zeros((*self.box.size, len(document.outputs)), dtype, order="F")
        if dtype in STEPS:
            means_in_steps(self.sums, self.weights, STEPS[dtype], made)
        else:
            low, high = np.array([output.range for output in document.outputs], np.float64).T
            means_in_range(self.sums, self.weights, low.copy(), high.copy(), made)
        return made


def predict(
    predictor: Predictor,
    channels: npt.NDArray[np.float32],
    window: Box,
    patches: Sequence[Box],
    sums: PatchSums,
    batch: int,
) -> None:
    """Add the network's answers for `patches` to `sums`; `channels` (channel, x, y, z) fill `window`.

    While the device computes one batch, the answers to the one before are added up.
    """
    waiting: tuple[Sequence[Box], Callable[[], npt.NDArray[np.uint16]]] | None = None
    for first in range(0, len(patches), batch):
        chosen = patches[first : first + batch]
        cut = np.stack([channels[(slice(None), *patch.slices(window.start))] for patch in chosen])
        answer = predictor.submit(cut, batch)
        if waiting is not None:
            sums.add(waiting[0], waiting[1]())
        waiting = chosen, answer
    if waiting is not None:
        sums.add(waiting[0], waiting[1]())


def patches_of(document: ModelDocument, volume: Box) -> Patches:
    """The places of a network's patches in a volume."""
    return Patches(volume, document.patch, document.overlap)


def patches_wanted(patches: Patches, box: Box, mask: npt.NDArray[np.bool_] | None) -> list[Box]:
    """The patches that `box` needs; with a mask over it those that have a voxel of the mask there."""
    return [
        patch
        for patch in patches.meeting(box)
        if mask is None or mask[patch.clip(box).slices(box.start)].any()
    ]
