"""Prediction over a box of any size: patches through a network, added up in whole numbers.

1. Each patch's output is rounded to 16 bits and weighted with whole numbers that are largest in its middle.
2. Sums and weights are added up as whole numbers, so the order of patches does not matter, nor who else
   computes the same patch for a neighbouring box.
3. They are divided once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.kernels.images.patch_sums import add_patch, means_in_range, means_in_steps
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.placement import FULL, Patches, bump_weights
from chunkflow.networks.setting import TOLERANCE, Flips, Precision, flips_of

Stored = Literal["uint8", "uint16", "float32"]
Steps = npt.NDArray[np.uint16]
"""Patch, output, x, y, z; patch and output alone where patches are judged."""
NO_NUMBER = -(2**20)
"""What stands for an answer that is no number: a sum over 8 flips is below 0 with a single one of these, and
8 of them fit in 32 bits."""
STEPS = {"uint8": 255, "uint16": 65535}


class Predictor(Protocol):
    """A network that is ready to run."""

    document: ModelDocument

    @property
    def only_batch(self) -> int | None:
        """The one size of a batch that it takes, where it takes no other."""

    def submit(self, patches: npt.NDArray[np.float32], batch: int) -> Callable[[], Steps]:
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
    """Add the network's answers for `patches` to `sums`; `channels` (channel, x, y, z) fill `window`."""
    for chosen, steps in answers_for(predictor, channels, window, patches, batch):
        sums.add(chosen, steps)


def answers_for(
    predictor: Predictor,
    channels: npt.NDArray[np.float32],
    window: Box,
    patches: Sequence[Box],
    batch: int,
) -> Iterator[tuple[Sequence[Box], Steps]]:
    """The network's answers for `patches`, cut out of `channels` (channel, x, y, z) over `window`, batch by
    batch: while the device computes one, the answers to the one before are dealt with."""
    waiting: tuple[Sequence[Box], Callable[[], Steps]] | None = None
    for first in range(0, len(patches), batch):
        chosen = patches[first : first + batch]
        cut = np.stack([channels[(slice(None), *patch.slices(window.start))] for patch in chosen])
        answer = predictor.submit(cut, batch)
        if waiting is not None:
            yield waiting[0], waiting[1]()
        waiting = chosen, answer
    if waiting is not None:
        yield waiting[0], waiting[1]()


def mean_of_flips(flips: Flips, answers_to: Callable[[tuple[int, ...]], Any]) -> Any:
    """The mean of the answers to a batch, in whole steps, as it is flipped along each choice of its axes."""
    chosen = [tuple(2 + axis for axis in axes) for axes in flips_of(flips)]
    total = answers_to(chosen[0])
    for axes in chosen[1:]:
        total += answers_to(axes)
    return total if len(chosen) == 1 else (total + len(chosen) // 2) // len(chosen)


def check_answer(answer: Sequence[int], batch: Sequence[int], document: ModelDocument) -> None:
    """Raise ValueError where what a network gives for a batch is not of the shape that is due."""
    due = (batch[0], len(document.outputs), *batch[2:])
    if tuple(answer) != due:
        raise ValueError(
            f"for arrays of {list(batch)} the network gives {list(answer)}, not {list(due)} (patch, channel, "
            "x, y, z)"
        )


def as_numbers(steps: npt.NDArray[np.int32], finite: bool) -> Steps:
    """Answers in whole steps as they are added up; ValueError where the network gave no numbers."""
    if not finite:
        raise ValueError("the network gives values that are not numbers: try another `precision`")
    return steps.astype(np.uint16)


def prove(
    predictor: Predictor, test_input: npt.NDArray[Any], expected: npt.NDArray[Any], precision: Precision
) -> None:
    """Raise BadInput where a network does not give on this device what its model file holds."""
    given = np.ascontiguousarray(test_input[None], np.float32)
    try:
        steps = predictor.submit(given, predictor.only_batch or 1)()[0]
    except ValueError as error:
        raise BadInput(f"The network fails the test in its model file: {error}.") from error
    span = max(float(expected.max() - expected.min()), 1 / FULL)
    differs = float(np.abs(steps / np.float32(FULL) - expected).max())
    off = max(differs - 0.51 / FULL, 0.0) / span  # less what rounding makes
    if not off <= TOLERANCE[precision]:
        raise BadInput(
            f"The network gives on this worker what differs from the test in its model file by {off:.2g} of "
            f"the test's range; in {precision} at most {TOLERANCE[precision]:g} may. Take another "
            f"`precision` or `device`, or make the model file anew."
        )


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
