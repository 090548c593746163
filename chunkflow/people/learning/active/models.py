"""Models of few labels: some classes have too few of them to be learnt, and thresholds are rough."""

from __future__ import annotations

from typing import Any

import numpy as np

from chunkflow.people.learning.active.undecided import Ints
from chunkflow.people.learning.estimator import Recipe
from chunkflow.people.learning.features import Floats
from chunkflow.people.learning.model import DECIMALS
from chunkflow.people.learning.scores import Examples, best_threshold, inner_probabilities
from chunkflow.people.learning.train import HALF

FEWEST = 2
"""Examples of a class that can be learnt."""
FEWEST_FOR_THRESHOLD = 4


def learnable(examples: Examples) -> tuple[Examples, Ints] | None:
    """The examples of classes that have enough, and their rows; None without two such classes."""
    counts = np.bincount(examples.classes, minlength=len(examples.names))
    kept = np.flatnonzero(counts >= FEWEST)
    if len(kept) < 2:
        return None
    rows = np.flatnonzero(np.isin(examples.classes, kept))
    part = examples.part(rows)
    names = tuple(examples.names[number] for number in kept)
    return Examples(part.features, np.searchsorted(kept, part.classes), names, part.groups), rows


def fitted(recipe: Recipe, examples: Examples) -> Any:
    """A model of learnable examples, whose classes are their numbers."""
    return recipe.build(examples.smallest).fit(examples.features, examples.classes)


def probabilities_of(model: Any, features: Floats) -> Floats:
    """What a model says of objects, rounded so that it does not depend on how many are asked for at once."""
    found: Floats = model.predict_proba(features)
    return np.round(found, DECIMALS)


def threshold_of(recipe: Recipe, examples: Examples, positive: int, seed: int) -> float:
    """The probability from which on an object is of a class, chosen from the examples alone."""
    if examples.smallest < FEWEST_FOR_THRESHOLD:
        return HALF
    inner = inner_probabilities(recipe.build, examples, seed)
    return best_threshold(inner[:, positive], examples, positive)
