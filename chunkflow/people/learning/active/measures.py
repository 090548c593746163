"""What a round has brought: scores on objects drawn at random, agreement with the round before, an outlook.

1. Only objects that were drawn at random measure a model. Each is judged by a model of the other examples
   (cross-validation), its threshold chosen from those, too.
2. Kappa says how far two models in a row agree on the same objects beyond chance: what no longer changes has
   been learnt.
3. The outlook is a curve through the rounds so far, F1 = a - b / sqrt(labels).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from chunkflow.kernels.scoring.scores import bootstrap_interval
from chunkflow.people.learning.active.models import FEWEST_FOR_THRESHOLD
from chunkflow.people.learning.active.undecided import Ints
from chunkflow.people.learning.estimator import Recipe
from chunkflow.people.learning.features import Floats
from chunkflow.people.learning.scores import FOLDS, Examples, Judged, Ranking, cross_validate

FEWEST_MEASURED = 8
"""Objects at random: fewer measure nothing."""
BINS = 5
FEWEST_ROUNDS = 3


class Estimated(BaseModel):
    """A score, and where it lies with a certainty of 95 %."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Reliability(BaseModel):
    """Objects that were given about the same probability: its mean, and how many of them were right."""

    model_config = ConfigDict(frozen=True)

    said: float
    came_true: float
    objects: int


class RoundScores(BaseModel):
    """How well a model judges objects that were drawn at random."""

    model_config = ConfigDict(frozen=True)

    objects: int
    f1: Estimated
    pr_auc: Estimated
    reliability: tuple[Reliability, ...]


def judge_examples(recipe: Recipe, examples: Examples, positive: int | None, seed: int) -> Judged | None:
    """What each example is judged to be by the others; None where a class has too few."""
    if examples.smallest < FEWEST_FOR_THRESHOLD:
        return None
    folds = min(FOLDS, examples.smallest)
    return cross_validate(recipe.build, examples, folds, seed, positive)


def score_random(
    examples: Examples, judged: Judged, rows: Ints, positive: int | None, seed: int
) -> RoundScores | None:
    """Scores on the examples that were drawn at random; None where they are too few to measure anything."""
    if len(rows) < FEWEST_MEASURED:
        return None
    true, decided = examples.classes[rows], judged.decided[rows]
    probabilities = judged.probabilities[rows]
    counted = range(len(examples.names)) if positive is None else [positive]
    f1 = _estimated(lambda drawn: mean_f1(true[drawn], decided[drawn], counted), len(rows), seed)
    rankings = [Ranking.of(probabilities[:, number], true == number) for number in counted]
    area = _estimated(
        lambda drawn: float(np.mean([ranking.areas(drawn)[1] for ranking in rankings])), len(rows), seed
    )
    if f1 is None or area is None:
        return None
    return RoundScores(objects=len(rows), f1=f1, pr_auc=area, reliability=_reliability(true, probabilities))


def mean_f1(true: Ints, decided: Ints, classes: Sequence[int] | range) -> float:
    """The mean F1 of some classes; not a number where one of them is nowhere."""
    found = []
    for number in classes:
        right = int(((true == number) & (decided == number)).sum())
        both = int((true == number).sum() + (decided == number).sum())
        found.append(2 * right / both if both else float("nan"))
    return float(np.mean(found))


def _estimated(measure: Callable[[Ints], float], count: int, seed: int) -> Estimated | None:
    value = measure(np.arange(count))
    interval = bootstrap_interval(measure, count, seed)
    if not np.isfinite([value, interval.low, interval.high]).all():
        return None
    return Estimated(value=value, low=interval.low, high=interval.high)


def _reliability(true: Ints, probabilities: Floats) -> tuple[Reliability, ...]:
    """Of the likeliest class of each object: what was said, and what came true."""
    said, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == true
    order = np.argsort(said, kind="stable")
    return tuple(
        Reliability(said=float(said[part].mean()), came_true=float(right[part].mean()), objects=len(part))
        for part in np.array_split(order, BINS)
        if len(part)
    )


def kappa(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Cohen's kappa of two models' classes for the same objects; 1 where both know one class alone."""
    names = np.unique(np.concatenate([first, second]))
    alike = float((first == second).mean())
    by_chance = float(sum((first == name).mean() * (second == name).mean() for name in names))
    return 1.0 if by_chance == 1 else (alike - by_chance) / (1 - by_chance)


def outlook(labels: Sequence[int], f1: Sequence[float], more: int) -> float | None:
    """The gain in F1 that so many labels more would bring; None before there are rounds enough to tell."""
    if len(labels) < FEWEST_ROUNDS:
        return None
    roots = 1 / np.sqrt(np.array(labels, float))
    slope, _ = np.polyfit(roots, np.array(f1, float), 1)
    gain = slope * (1 / np.sqrt(labels[-1] + more) - roots[-1])
    return float(max(gain, 0.0))
