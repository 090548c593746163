"""How good a classifier is on objects that it has not seen: cross-validation, and scores with intervals.

1. The examples are cut into folds; objects of one group (an animal, a region) are never in two of them.
2. For each fold the whole chain (scaling, fitting, calibrating) is fitted to the others alone. Where one
   class is to be found, its threshold is chosen from probabilities that the training part gives itself, by
   folds of its own; where there are groups, a group is judged by the others, and counts as much as any.
3. What every example was judged to be, while it was not seen, is scored; intervals come of drawing examples
   (whole groups, where there are any) anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.errors import BadInput
from chunkflow.kernels.scoring.scores import bootstrap_interval
from chunkflow.people.learning.features import Floats
from chunkflow.people.learning.model import DECIMALS, decide
from chunkflow.words import counted

Ints = npt.NDArray[np.int64]
FOLDS = 5
REPEATS = 1000
MANY = 20_000
"""From so many examples on, intervals come of a tenth of the draws: they take longer, and less is unsure."""
Fit = Callable[[int], Any]
"""An estimator to be fitted, given how many examples its smallest class has."""


@dataclass(frozen=True)
class Examples:
    """Objects whose class is known."""

    features: Floats
    classes: Ints
    names: tuple[str, ...]
    """Of the classes."""
    groups: Ints | None = None

    def part(self, rows: npt.NDArray[Any]) -> Examples:
        groups = None if self.groups is None else self.groups[rows]
        return Examples(self.features[rows], self.classes[rows], self.names, groups)

    @property
    def said(self) -> npt.NDArray[np.str_]:
        """The name of the class of each."""
        return np.array(self.names)[self.classes]

    @property
    def counts(self) -> dict[str, int]:
        """How many examples each class has."""
        counts = np.bincount(self.classes, minlength=len(self.names)).tolist()
        return dict(zip(self.names, counts, strict=True))

    @property
    def smallest(self) -> int:
        """How many examples the class with the fewest has."""
        return min(self.counts.values())


@dataclass(frozen=True)
class Judged:
    """What each example was judged to be while it was not seen."""

    probabilities: Floats
    decided: Ints


def cross_validate(fit: Fit, examples: Examples, folds: int, seed: int, positive: int | None) -> Judged:
    """Judge each example by a classifier fitted to the other folds."""
    probabilities = np.zeros((len(examples.classes), len(examples.names)))
    decided = np.zeros(len(examples.classes), np.int64)
    for train, test in cut_folds(examples, folds, seed):
        part = examples.part(train)
        fitted = fit(part.smallest).fit(part.features, part.classes)
        probabilities[test] = np.round(fitted.predict_proba(examples.features[test]), DECIMALS)
        if positive is None:
            decided[test] = probabilities[test].argmax(axis=1)
        else:
            threshold = best_threshold(inner_probabilities(fit, part, seed)[:, positive], part, positive)
            decided[test] = decide(probabilities[test], positive, threshold)
    return Judged(probabilities, decided)


def inner_probabilities(fit: Fit, examples: Examples, seed: int) -> Floats:
    """What the examples of a training part are judged to be by each other."""
    folds = min(FOLDS, examples.smallest)
    groups = 0 if examples.groups is None else len(np.unique(examples.groups))
    if groups == 1:  # which cannot be kept apart from itself
        return inner_probabilities(fit, replace(examples, groups=None), seed)
    return cross_validate(fit, examples, min(folds, groups or folds), seed, None).probabilities


def best_threshold(probabilities: Floats, examples: Examples, positive: int) -> float:
    """The probability from which on the class is taken so that its F1 can be expected to be largest.

    The F1 that a few hundred examples happen to have jumps with each of them. So the probabilities are first
    made true (a logistic curve is fitted to how often they came true), and the F1 to expect follows from
    these. Where there are groups, each has a curve and an F1 of its own, and their mean is the largest: cells
    are frequent in one brain and rare in another, and the many of one must not decide for all. The threshold
    is the middle of the gap to the next lower probability.
    """
    values = np.unique(probabilities)
    true = examples.classes == positive
    parts = [rows for rows in _by_group(examples.groups) if 0 < true[rows].sum() < rows.sum()]
    f1 = np.zeros(len(values))
    for rows in parts or [np.ones(len(true), bool)]:
        f1 += _expected_f1(probabilities[rows], true[rows], values)
    best = len(values) - 1 - int(f1[::-1].argmax())
    below = values[best - 1] if best else 0.0
    return float((values[best] + below) / 2)


def _by_group(groups: Ints | None) -> list[npt.NDArray[np.bool_]]:
    """The rows of each group."""
    return [] if groups is None else [groups == group for group in np.unique(groups)]


def _expected_f1(probabilities: Floats, true: npt.NDArray[np.bool_], thresholds: Floats) -> Floats:
    """The F1 to expect of each threshold."""
    believed = _made_true(probabilities, true)
    order = np.argsort(-probabilities, kind="stable")
    right = np.append(0.0, np.cumsum(believed[order]))
    taken = np.searchsorted(-probabilities[order], -thresholds, side="right")
    return np.asarray(2 * right[taken] / (taken + right[-1]))


def _made_true(probabilities: Floats, true: npt.NDArray[np.bool_]) -> Floats:
    """The probabilities on a logistic curve through what came true; as they are where it does not rise."""
    from sklearn.linear_model import LogisticRegression

    clipped = np.clip(probabilities, 1e-4, 1 - 1e-4)
    logits = np.log(clipped / (1 - clipped))[:, np.newaxis]
    curve = LogisticRegression(C=1e6).fit(logits, true)
    rises = float(curve.coef_[0, 0]) > 0
    return np.asarray(curve.predict_proba(logits)[:, 1] if rises else probabilities, np.float64)


def cut_folds(examples: Examples, folds: int, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """The rows to fit to and those to judge, for each fold; each class is as frequent in each as may be."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if examples.groups is None else StratifiedGroupKFold
    cutter = kind(folds, shuffle=True, random_state=seed)
    for train, test in cutter.split(examples.features, examples.classes, examples.groups):
        counts = np.bincount(examples.classes[train], minlength=len(examples.names))
        if counts.min() < 2:
            name = examples.names[int(counts.argmin())]
            raise BadInput(
                f"With {folds} folds there is one that leaves fewer than two examples of {name} to train on: "
                "label more, in more groups, or ask for another number of folds."
            )
        yield train, test


def usual_folds(examples: Examples) -> int:
    """Five folds, or one a group where there are fewer groups than that."""
    groups = 1 if examples.groups is None else len(np.unique(examples.groups))
    return FOLDS if groups == 1 else min(FOLDS, groups)


def refuse_few(examples: Examples, folds: int) -> None:
    """Raise BadInput where there are too few examples, or groups, for the folds."""
    counts = np.bincount(examples.classes, minlength=len(examples.names))
    needed = max(folds, 4)
    few = [
        f"{name} has {count}" for name, count in zip(examples.names, counts, strict=True) if count < needed
    ]
    if few:
        raise BadInput(
            f"{folds} folds need at least {needed} examples of each class, but {', '.join(few)}: label more"
            + (", or ask for fewer folds." if folds > 4 else ".")
        )
    if examples.groups is not None and len(np.unique(examples.groups)) < folds:
        groups = len(np.unique(examples.groups))
        raise BadInput(
            f"{folds} folds need as many groups, but there {'is' if groups == 1 else 'are'} "
            f"{counted(groups, 'group')}: ask for fewer folds, or leave the group out."
        )


def score(examples: Examples, judged: Judged, seed: int) -> dict[str, Any]:
    """Scores of each class against all others, each with its interval, and the confusion matrix."""
    scores: dict[str, Any] = {
        "examples": len(examples.classes),
        "accuracy": _accuracy(examples, judged, seed),
    }
    scores["classes"] = {
        name: _of_class(examples, judged, number, seed) for number, name in enumerate(examples.names)
    }
    confusion = np.zeros((len(examples.names),) * 2, np.int64)
    np.add.at(confusion, (examples.classes, judged.decided), 1)
    scores["confusion"] = confusion.tolist()
    return scores


def _accuracy(examples: Examples, judged: Judged, seed: int) -> list[float]:
    right = examples.classes == judged.decided
    return _with_interval(lambda rows: float(right[rows].mean()), examples, seed)


def _of_class(examples: Examples, judged: Judged, number: int, seed: int) -> dict[str, list[float]]:
    true, found = examples.classes == number, judged.decided == number
    ranking = Ranking.of(judged.probabilities[:, number], true)
    measures: dict[str, Callable[[Ints], float]] = {
        "roc_auc": lambda rows: ranking.areas(rows)[0],
        "pr_auc": lambda rows: ranking.areas(rows)[1],
        "precision": lambda rows: _share((true & found)[rows].sum(), found[rows].sum()),
        "recall": lambda rows: _share((true & found)[rows].sum(), true[rows].sum()),
        "f1": lambda rows: _share(2 * (true & found)[rows].sum(), true[rows].sum() + found[rows].sum()),
    }
    return {name: _with_interval(measure, examples, seed) for name, measure in measures.items()}


@dataclass(frozen=True)
class Ranking:
    """Examples sorted once by their probability, for the areas under the curves of thousands of draws."""

    order: Ints
    true: npt.NDArray[np.bool_]
    """In this order."""
    last: Ints
    """The places of the last of those that have the same probability."""

    @classmethod
    def of(cls, probability: Floats, true: npt.NDArray[np.bool_]) -> Ranking:
        order = np.argsort(-probability, kind="stable")
        values = probability[order]
        return cls(order, true[order], np.flatnonzero(np.append(values[1:] != values[:-1], True)))

    def areas(self, rows: Ints) -> tuple[float, float]:
        """Under the ROC curve, and the average precision, of these examples; not numbers without both
        classes."""
        if not len(self.order):
            return float("nan"), float("nan")
        drawn = np.bincount(rows, minlength=len(self.order))[self.order]
        right = np.append(0, np.cumsum(drawn * self.true)[self.last])
        wrong = np.append(0, np.cumsum(drawn * ~self.true)[self.last])
        if not right[-1] or not wrong[-1]:
            return float("nan"), float("nan")
        roc = float(np.trapezoid(right, wrong)) / float(right[-1] * wrong[-1])
        found = np.maximum((right + wrong)[1:], 1)
        return roc, float((np.diff(right) * right[1:] / found).sum() / right[-1])


def _with_interval(measure: Callable[[Ints], float], examples: Examples, seed: int) -> list[float]:
    """A score, and where it lies with a certainty of 95 %."""
    count = len(examples.classes)
    repeats = REPEATS if count < MANY else REPEATS // 10
    interval = bootstrap_interval(measure, count, seed, examples.groups, repeats)
    return [measure(np.arange(count)), interval.low, interval.high]


def _share(part: Any, whole: Any) -> float:
    """Not a number where there is nothing to have a share of."""
    return float(part / whole) if whole else float("nan")
