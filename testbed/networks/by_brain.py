"""Networks, features, and both together, on brains that none of them has seen.

What is tested on a fold is chosen without it: the threshold of a combination comes of the other brains, where
a network's column is from one that has seen neither that brain nor those of the fold.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from chunkflow.networks.training.folds import folds_of
from chunkflow.people.learning.estimator import CARRYING, Recipe
from chunkflow.people.learning.features import CARRIED
from chunkflow.people.learning.networks.cells import AskedPlaces
from chunkflow.people.learning.networks.side_by_side import call_side_by_side
from chunkflow.people.learning.scores import Examples, best_threshold, inner_probabilities
from testbed.detection import Points
from testbed.networks.trained import (
    NETWORKS,
    Prepared,
    Tested,
    judged_candidates,
    recipe_of,
    train_and_test,
    without,
)

FEATURES_ALONE = "features"
DETECTOR = "heatmap as detector"
JUDGE = "patches as they come"
TOGETHER = "features, heatmap, patches"
COMBINED: dict[str, tuple[bool, tuple[str, ...]]] = {
    "heatmap at candidates": (False, ("heatmap",)),
    "patches, threshold by brains": (False, ("patches",)),
    FEATURES_ALONE: (True, ()),
    "features, heatmap": (True, ("heatmap",)),
    "features, patches": (True, ("patches",)),
    TOGETHER: (True, ("heatmap", "patches")),
}
"""Whether features are in it, and which networks: the mean of both, each network counting the same."""
ByBrain = Mapping[str, AskedPlaces]
Trained = Mapping[tuple[str, int, tuple[int, ...]], Tested]
"""By kind, seed, and the folds that were left out."""


def mean_f1(scored: ByBrain) -> float:
    """Over volumes, each counting the same."""
    return float(np.mean([asked.values["F1"] for asked in scored.values()]))


@dataclass(frozen=True)
class Brains:
    """The brains of a stain, and which fold each is tested in."""

    brains: Sequence[Prepared]
    folds: int

    @property
    def names(self) -> list[list[str]]:
        """The brains of each fold."""
        return [[brain.name for brain in self.brains[number :: self.folds]] for number in range(self.folds)]

    def train(self, seeds: Sequence[int], folder: Path) -> Trained:
        """Networks of each kind and seed, without each fold and without each pair of folds."""
        left_out = [out for n in (1, 2) for out in itertools.combinations(range(self.folds), n)]
        keys = [(kind, seed, out) for kind in NETWORKS for seed in seeds for out in left_out]
        asked, calls = {brain.name: brain.asked for brain in self.brains}, []
        for kind, seed, out in keys:
            fold = without(folds_of(recipe_of(kind, self.brains, seed), self.folds), out)
            name = f"{self.brains[0].name}-{kind}-{seed}-{'-'.join(map(str, out))}.safetensors"
            calls.append((fold, str(folder / name), asked))
        tested = call_side_by_side(train_and_test, calls, calls[0][0].recipe, "", False)
        return dict(zip(keys, tested, strict=True))

    def judged(self, trained: Trained, seed: int) -> Mapping[str, ByBrain]:
        """What each way says of each brain."""
        judged: dict[str, dict[str, AskedPlaces]] = {name: {} for name in (DETECTOR, JUDGE, *COMBINED)}
        for number in range(self.folds):
            fold = _Fold(self, trained, seed, number)
            judged[DETECTOR] |= trained["heatmap", seed, (number,)].cells
            judged[JUDGE] |= fold.by_patches()
            examples = fold.examples
            features = fold.by_features(examples)
            for name, (with_features, kinds) in COMBINED.items():
                columns = [features] if with_features else []
                if kinds:
                    columns.append(fold.by_networks(kinds))
                judged[name] |= fold.combined(examples, columns)
        return judged


Column = tuple[Points, dict[str, Points]]
"""Probabilities of the candidates to choose a threshold by, and of those of each tested brain."""


@dataclass(frozen=True)
class _Fold:
    brains: Brains
    trained: Trained
    seed: int
    number: int

    @property
    def tests(self) -> list[Prepared]:
        return list(self.brains.brains[self.number :: self.brains.folds])

    @property
    def others(self) -> list[tuple[int, Prepared]]:
        """The brains that are learnt from, with their folds."""
        numbered = ((n % self.brains.folds, brain) for n, brain in enumerate(self.brains.brains))
        return [(fold, brain) for fold, brain in numbered if fold != self.number]

    @property
    def examples(self) -> Examples:
        parts = [brain.found.examples(CARRIED) for _, brain in self.others]
        groups = np.concatenate([np.full(len(part.classes), n) for n, part in enumerate(parts)])
        together = Examples(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.classes for part in parts]),
            parts[0].names,
        )
        return replace(together, groups=groups)

    def by_features(self, examples: Examples) -> Column:
        build = Recipe.of(CARRYING, {}, seed=0).build
        fitted = build(examples.smallest).fit(examples.features, examples.classes)
        tested = {
            brain.name: fitted.predict_proba(brain.found.examples(CARRIED).features)[:, 1]
            for brain in self.tests
        }
        return inner_probabilities(build, examples, 0)[:, 1], tested

    def by_networks(self, kinds: Sequence[str]) -> Column:
        own = [self.trained[kind, self.seed, (self.number,)] for kind in kinds]
        learnt = [
            np.mean([self._unseen(kind, fold).chances[brain.name] for kind in kinds], axis=0)
            for fold, brain in self.others
        ]
        tested = {
            brain.name: np.mean([one.chances[brain.name] for one in own], axis=0) for brain in self.tests
        }
        return np.concatenate(learnt), tested

    def _unseen(self, kind: str, fold: int) -> Tested:
        """The network that has seen neither this fold nor another."""
        return self.trained[kind, self.seed, (min(fold, self.number), max(fold, self.number))]

    def by_patches(self) -> ByBrain:
        own = self.trained["patches", self.seed, (self.number,)]
        chances = [(brain, own.chances[brain.name]) for brain in self.tests]
        least = own.threshold - 1e-9
        return {brain.name: judged_candidates(brain.found, said, said >= least) for brain, said in chances}

    def combined(self, examples: Examples, columns: Sequence[Column]) -> ByBrain:
        threshold = best_threshold(np.mean([learnt for learnt, _ in columns], axis=0), examples, 1)
        chances = {
            brain.name: np.mean([tested[brain.name] for _, tested in columns], axis=0) for brain in self.tests
        }
        return {
            brain.name: judged_candidates(brain.found, chances[brain.name], chances[brain.name] >= threshold)
            for brain in self.tests
        }
