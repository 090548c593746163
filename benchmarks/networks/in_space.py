"""Networks, trees, and both together within one volume, in slabs of space.

What is tested on a slab is judged by networks and trees that have not seen it. The threshold there is
the best one of the other slabs, whose networks have seen it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chunkflow.geometry import Box
from chunkflow.networks.training.folds import Fold, folds_of
from chunkflow.people.learning.estimator import Recipe
from chunkflow.people.learning.features import FEATURES
from chunkflow.people.learning.networks.cells import AskedPlaces
from chunkflow.people.learning.networks.side_by_side import call_side_by_side
from chunkflow.people.learning.scores import Examples, best_threshold
from testbed.classification import TREES, TREES_PARAMETERS
from testbed.detection import Points
from testbed.networks.trained import Prepared, Tested, judged_candidates, recipe_of, train_and_test

SLABS = 5
TREES_ALONE = "trees"
ALONE = "{} alone"
USUAL = "{} alone, cells and places at random"
AVERAGED = "trees, {}"
Trained = Mapping[tuple[str, int], Sequence[Tested]]
"""The networks of all slabs, by kind and seed."""


@dataclass(frozen=True)
class Slabs:
    """A volume in slabs, the slab of each candidate, and what the trees say of it."""

    volume: Prepared
    of_candidate: NDArray[np.int64]
    chances: Points

    @classmethod
    def of(cls, volume: Prepared) -> Slabs:
        numbers = np.zeros(len(volume.asked), np.int64)
        for fold in _folds(volume, "patches", 0):
            box = Box.parse(fold.tests[0].validation[0])
            inside = ((volume.asked >= box.start) & (volume.asked < box.stop)).all(axis=1)
            numbers[inside] = fold.number
        build = Recipe.of(TREES, TREES_PARAMETERS, seed=0).build
        patterns = (*FEATURES, "image_contrast_*", "image_surround")
        plain = volume.found.examples(patterns)
        examples = Examples(plain.features, plain.classes, plain.names, numbers)
        chances = np.zeros(len(numbers))
        for number in range(SLABS):
            others = examples.part(numbers != number)
            fitted = build(others.smallest).fit(others.features, others.classes)
            chances[numbers == number] = fitted.predict_proba(examples.features[numbers == number])[:, 1]
        return cls(volume, numbers, chances)

    def train(self, kinds: Sequence[str], seeds: Sequence[int], folder: Path) -> Trained:
        """A network for each slab, of each kind and seed."""
        keys = [(kind, seed) for kind in kinds for seed in seeds]
        asked, calls = {self.volume.name: self.volume.asked}, []
        for kind, seed in keys:
            for fold in _folds(self.volume, kind, seed):
                name = f"{self.volume.name}-{kind}-{seed}-slab-{fold.number}.safetensors"
                calls.append((fold, str(folder / name), asked))
        tested = call_side_by_side(train_and_test, calls, calls[0][0].recipe, "", False)
        return {key: tested[n * SLABS : (n + 1) * SLABS] for n, key in enumerate(keys)}

    def judged(self, trained: Trained, seed: int) -> dict[str, AskedPlaces]:
        """What each way says of the volume, all slabs together."""
        judged = {TREES_ALONE: self._judged(self.chances)}
        for kind in (kind for kind, own in trained if own == seed):
            tested = trained[kind, seed]
            chances = np.choose(self.of_candidate, [one.chances[self.volume.name] for one in tested])
            judged[ALONE.format(kind)] = self._judged(chances)
            judged[AVERAGED.format(kind)] = self._judged((chances + self.chances) / 2)
            controls = [one.controls[self.volume.name] for one in tested]
            slabs = np.concatenate([np.full(len(own.chances), n) for n, own in enumerate(controls)])
            usual = AskedPlaces.together(controls)
            taken = taken_by_others(usual.chances, usual.is_cell.astype(np.int64), slabs)
            judged[USUAL.format(kind)] = replace(usual, taken=taken)
        return judged

    def _judged(self, chances: Points) -> AskedPlaces:
        found = self.volume.found
        return judged_candidates(found, chances, taken_by_others(chances, found.is_cell, self.of_candidate))


def taken_by_others(
    chances: Points, is_cell: NDArray[np.int64], slabs: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which places of each slab are taken for cells, by the best threshold of the other slabs."""
    examples = Examples(chances[:, np.newaxis], is_cell, ("no cell", "cell"))
    taken = np.zeros(len(chances), bool)
    for slab in np.unique(slabs):
        others, here = slabs != slab, slabs == slab
        taken[here] = chances[here] >= best_threshold(chances[others], examples.part(others), 1)
    return taken


def _folds(volume: Prepared, kind: str, seed: int) -> list[Fold]:
    return folds_of(recipe_of(kind, [volume], seed), SLABS)
