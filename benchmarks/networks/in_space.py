"""Networks, trees, and both together within one volume, in slabs of space.

What is tested on a slab is chosen without it: a network's threshold by its own validation, that of the trees
by the other slabs, and that of their mean is the mean of both thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chunkflow.geometry import Box
from chunkflow.networks.training.folds import Fold, folds_of
from chunkflow.people.learning.estimator import Recipe
from chunkflow.people.learning.features import FEATURES
from chunkflow.people.learning.networks.cells import AskedPlaces
from chunkflow.people.learning.networks.side_by_side import call_side_by_side
from chunkflow.people.learning.scores import Examples, best_threshold, inner_probabilities
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
    thresholds: Points
    """Of the candidates' slabs."""

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
        chances, thresholds = np.zeros(len(numbers)), np.zeros(len(numbers))
        for number in range(SLABS):
            others = examples.part(numbers != number)
            fitted = build(others.smallest).fit(others.features, others.classes)
            chances[numbers == number] = fitted.predict_proba(examples.features[numbers == number])[:, 1]
            learnt = inner_probabilities(build, others, 0)[:, 1]
            whole = Examples(others.features, others.classes, others.names)
            thresholds[numbers == number] = best_threshold(learnt, whole, 1)
        return cls(volume, numbers, chances, thresholds)

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
        found = self.volume.found
        judged = {TREES_ALONE: judged_candidates(found, self.chances, self.chances >= self.thresholds)}
        for kind in (kind for kind, own in trained if own == seed):
            tested = trained[kind, seed]
            chances = np.choose(self.of_candidate, [one.chances[self.volume.name] for one in tested])
            thresholds = np.choose(self.of_candidate, [one.threshold for one in tested])
            judged[ALONE.format(kind)] = judged_candidates(found, chances, chances >= thresholds - 1e-9)
            mean = (chances + self.chances) / 2
            taken = mean >= (thresholds + self.thresholds) / 2
            judged[AVERAGED.format(kind)] = judged_candidates(found, mean, taken)
            controls = [one.controls[self.volume.name] for one in tested]
            judged[USUAL.format(kind)] = AskedPlaces.together(controls)
        return judged


def _folds(volume: Prepared, kind: str, seed: int) -> list[Fold]:
    return folds_of(recipe_of(kind, [volume], seed), SLABS)
