"""Examples: patches of volumes, varied at random, with the truth that is due.

Example `i` of step `s` is a function of (seed, s, i) alone: where it is cut, how it is turned, stretched and
lit. So it does not matter who makes it, when, or whether training was resumed in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, around, vec
from chunkflow.kernels.augmentation.elastic import warp_image, warp_labels
from chunkflow.kernels.augmentation.turning import draw_turn
from chunkflow.networks.training.blocks import SIDE
from chunkflow.networks.training.examples.cutting import Cut, varied
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.truths import NO_CLASS
from chunkflow.networks.training.volumes import OpenedVolume

Ints = npt.NDArray[np.int64]
AGAIN = 0.5
"""The share of rare examples that are taken around places to be seen again, where there are any."""
TRIES = 100
"""How often a place is drawn until it is one that is learnt from."""
MOST_BLOCKS = 128
MOST_IN_BLOCK = 500
"""Voxels of one class that are noted of a block."""


@dataclass(frozen=True)
class Example:
    """One patch, as the network is given it, and what it should say."""

    channels: npt.NDArray[np.float32]
    """Channel, x, y, z."""
    truth: npt.NDArray[Any]
    """From 0 to 1, or the number of a class, over x, y, z."""
    known: npt.NDArray[np.bool_]
    """Where the truth counts."""


class TrainingExamples:
    """All examples of a training."""

    def __init__(self, recipe: NetworkRecipe, volumes: Sequence[OpenedVolume]) -> None:
        self._recipe = recipe
        self._volumes = [volume for volume in volumes if volume.learns]
        self._rare = [_rare_places(volume, recipe) for volume in self._volumes]
        for volume, places in zip(self._volumes, self._rare, strict=True):
            if not any(map(len, places)):
                raise BadInput(
                    f"{volume.name} has no truth where it is learnt from: within {volume.bounds}, and at "
                    f"least a patch ({list(recipe.patch)}) from the boxes of validation."
                )

    def batch(self, step: int) -> list[Example]:
        """The examples of a step."""
        return [self.one(step, index) for index in range(self._recipe.batch)]

    def one(self, step: int, index: int) -> Example:
        """An example, always the same for the same step and index."""
        recipe, augment = self._recipe, self._recipe.augment
        random = np.random.default_rng((recipe.seed, step, index))
        number = int(random.integers(len(self._volumes)))
        volume = self._volumes[number]
        turn = draw_turn(random, volume.space.voxel_size, augment.flips, augment.turns)
        box = self._box(random, number, turn.size_before(recipe.patch))
        cut = Cut.draw(random, box, turn, volume.space.voxel_size, augment)
        truth = volume.truth.over(cut.window)
        known = cut.apply(volume.learnt(cut.window)[None], warp_labels)[0]
        truth = cut.apply(truth, warp_image if truth.dtype.kind == "f" else warp_labels)[0]
        image = varied(cut.apply(volume.channels.over(cut.window), warp_image), augment, random)
        return Example(image, truth, known & (truth != NO_CLASS))

    def _box(self, random: np.random.Generator, number: int, size: Vec) -> Box:
        """Where a patch is cut: near something rare, or anywhere that is learnt from."""
        volume, rare = self._volumes[number], self._rare[number]
        if random.random() < self._recipe.rare:
            filled = [places for places in rare if len(places)]
            if volume.again is not None and random.random() < AGAIN:
                filled = [np.concatenate(volume.again).astype(np.int64)]
            places = filled[int(random.integers(len(filled)))]
            reach = np.array(size) // 3
            middle = places[int(random.integers(len(places)))] + random.integers(-reach, reach + 1)
        else:
            middle = _anywhere(volume, random)
        return _held(Box.of_size(size, vec(m - n // 2 for m, n in zip(middle, size, strict=True))), volume)


def _held(box: Box, volume: OpenedVolume) -> Box:
    """The box moved into the volume; where that is smaller, over its middle."""
    start = []
    for a, n, first, size in zip(
        box.start, box.size, volume.space.volume.start, volume.space.volume.size, strict=True
    ):
        start.append(first + ((size - n) // 2 if n >= size else min(max(a - first, 0), size - n)))
    return Box.of_size(box.size, vec(start))


def _anywhere(volume: OpenedVolume, random: np.random.Generator) -> Ints:
    """A voxel that is learnt from; the last one drawn where none was found."""
    sizes = np.array([box.voxels for box in volume.boxes], float)
    middle = np.zeros(3, np.int64)
    for _ in range(TRIES):
        box = volume.boxes[int(random.choice(len(sizes), p=sizes / sizes.sum()))]
        middle = random.integers(box.start, box.stop)
        if volume.learnt(Box.of_size((1, 1, 1), vec(middle)))[0, 0, 0]:
            break
    return middle


def _rare_places(volume: OpenedVolume, recipe: NetworkRecipe) -> list[Ints]:
    """Voxels that are learnt from: of points, of objects, or of each class."""
    if volume.points is not None:
        return [np.floor(volume.points_where("learnt")).astype(np.int64)]
    found: list[list[Ints]] = [[] for _ in recipe.truth.outputs]
    single = len(found) == 1
    random = np.random.default_rng(recipe.seed)
    for block in _blocks(volume):
        truth, known = volume.truth.over(block)[0], volume.learnt(block)
        for number, places in enumerate(found):
            voxels = np.argwhere(known & (truth == (1 if single else number)))
            if len(voxels) > MOST_IN_BLOCK:
                voxels = voxels[random.choice(len(voxels), MOST_IN_BLOCK, replace=False)]
            places.append(voxels + block.start)
    return [np.concatenate(places) for places in found]


def _blocks(volume: OpenedVolume) -> list[Box]:
    """Blocks of what counts, spread evenly where there are more than MOST_BLOCKS."""
    box = around(volume.boxes)
    shape = [-(-n // side) for n, side in zip(box.size, SIDE, strict=True)]
    count = shape[0] * shape[1] * shape[2]
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_BLOCKS)).astype(int))
    starts = np.stack(np.unravel_index(chosen, shape), axis=1) * SIDE + box.start
    return [Box.of_size(SIDE, vec(start)).clip(box) for start in starts]
