"""Examples of a network that judges patches: around cells, around candidates that are none, and elsewhere.

Candidates paired one to one with points are cells, as are points that no candidate is paired with. Those near
no point are none, and are hard to tell; a quarter of what is no cell lies at random between 6 and 20 voxels
from cells, as the network may be asked about any voxel. Candidates that are near a point and not paired with
one are not learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from chunkflow.errors import BadInput
from chunkflow.geometry import Vec, vec
from chunkflow.kernels.augmentation.elastic import warp_image
from chunkflow.kernels.augmentation.turning import draw_turn
from chunkflow.kernels.scoring.scores import closest_pairs
from chunkflow.networks.judging import patches_around
from chunkflow.networks.training.examples.cutting import Cut, varied
from chunkflow.networks.training.examples.voxels import AGAIN, Example
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.regions import places_away
from chunkflow.networks.training.truths import CellsTruth, Floats
from chunkflow.networks.training.volumes import OpenedVolume

ELSEWHERE = 0.25
"""The share of what is no cell that is taken at random."""
DRAWN = 32
"""Places that are drawn at a time, some of which may lie where nothing is learnt."""
JITTER = 2.0
"""How far off the middle of a patch a cell may be, micrometres."""


@dataclass(frozen=True)
class Told:
    """Places of a volume that are learnt from, in continuous voxels."""

    cells: Floats
    others: Floats

    @classmethod
    def of(cls, volume: OpenedVolume, truth: CellsTruth) -> Told:
        """Cells and candidates that are none, from points and candidates."""
        assert volume.points is not None
        assert volume.candidates is not None
        size = np.array(volume.space.voxel_size) / 1000
        found, points = volume.candidates * size, volume.points * size
        pairs = closest_pairs(found, points, truth.tolerance)
        alone = np.ones(len(points), bool)
        alone[pairs[:, 1]] = False
        far = cKDTree(points).query(found)[0] > truth.tolerance
        cells = np.concatenate([volume.candidates[pairs[:, 0]], volume.points[alone]])
        return cls(volume.where("learnt", cells), volume.where("learnt", volume.candidates[far]))


class CandidateExamples:
    """All examples of a training that judges patches."""

    def __init__(self, recipe: NetworkRecipe, volumes: Sequence[OpenedVolume]) -> None:
        truth = recipe.truth
        assert isinstance(truth, CellsTruth)
        self._recipe = recipe
        self._volumes = [volume for volume in volumes if volume.learns]
        self._told = [Told.of(volume, truth) for volume in self._volumes]
        self._again = [
            [volume.where("learnt", places) for places in volume.again or (np.zeros((0, 3)),) * 2]
            for volume in self._volumes
        ]
        for volume, told in zip(self._volumes, self._told, strict=True):
            if not len(told.cells):
                raise BadInput(
                    f"{volume.name} has no cell where it is learnt from: within {volume.bounds}, and at "
                    f"least a patch ({list(recipe.learnt_patch)}) from the boxes of validation."
                )

    def batch(self, step: int) -> list[Example]:
        """The examples of a step."""
        return [self.one(step, index) for index in range(self._recipe.batch)]

    def one(self, step: int, index: int) -> Example:
        """An example, always the same for the same step and index; its truth is that of the middle voxel."""
        recipe, augment = self._recipe, self._recipe.augment
        random = np.random.default_rng((recipe.seed, step, index))
        number = int(random.integers(len(self._volumes)))
        volume = self._volumes[number]
        voxel = volume.space.voxel_size
        turn = draw_turn(random, voxel, augment.flips, augment.turns)
        place, is_cell = self._place(random, number, bool(random.random() < recipe.rare))
        steps = np.floor(JITTER * 1000 / np.array(voxel)).astype(np.int64)
        middle = np.floor(place).astype(np.int64) + random.integers(-steps, steps + 1)
        size: Vec = turn.size_before(recipe.learnt_patch)
        box = patches_around(middle[None], size)[0]
        cut = Cut.draw(random, box, turn, voxel, augment)
        image = varied(cut.apply(volume.channels.over(cut.window), warp_image), augment, random)
        whole = vec((1, 1, 1))
        return Example(image, np.full(whole, is_cell, np.float32), np.ones(whole, bool))

    def _place(self, random: np.random.Generator, number: int, is_cell: bool) -> tuple[Floats, bool]:
        """Where a cell is, or where none is; a cell, too, in a volume that has no room for anything else."""
        volume, told = self._volumes[number], self._told[number]
        again = self._again[number][0 if is_cell else 1]
        places = told.cells if is_cell else told.others
        if len(again) and random.random() < AGAIN:
            places = again
        elif not is_cell and (random.random() < ELSEWHERE or not len(places)):
            drawn = places_away(random, told.cells, volume.points, DRAWN)[:, None]
            places = next((place for place in drawn if len(volume.where("learnt", place))), places)
        if not len(places):
            places, is_cell = told.cells, True
        return places[int(random.integers(len(places)))], is_cell
