"""Training of a classifier on labelled objects: cross-validated, calibrated, kept as one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chunkflow.data.atomic import refuse_existing, refuse_model
from chunkflow.errors import BadInput
from chunkflow.people.learning.estimator import CARRYING, DEFAULT, Recipe
from chunkflow.people.learning.examples import ObjectTable, fingerprint_of, gather, told_with
from chunkflow.people.learning.model import Description, save, versions
from chunkflow.people.learning.page import training_parts
from chunkflow.people.learning.scores import (
    Examples,
    Judged,
    best_threshold,
    cross_validate,
    refuse_few,
    score,
    usual_folds,
)
from chunkflow.people.reports.pages import fragment, page
from chunkflow.words import counted

TITLE = "Training of a classifier"
HALF = 0.5


@dataclass(frozen=True, repr=False)
class Trained:
    """A trained classifier and its scores on unseen objects; in a notebook a page of them."""

    path: Path
    """The model's file."""
    description: Description
    """What this file says of itself."""
    remarks: tuple[str, ...]
    """Which labels were left out, and why."""
    examples: Examples
    judged: Judged

    @property
    def scores(self) -> dict[str, Any]:
        """The scores of each class, of all, and the confusion matrix."""
        return self.description.scores

    @property
    def counts(self) -> dict[str, int]:
        """How many examples each class has."""
        return self.description.examples

    @property
    def report(self) -> Path:
        """The page of scores, beside the model."""
        return _report_of(self.path)

    def __repr__(self) -> str:
        lines = []
        for name, found in self.scores["classes"].items():
            auc, low, high = found["roc_auc"]
            precision, recall, f1 = (found[measure][0] for measure in ("precision", "recall", "f1"))
            lines.append(
                f"{name}: ROC AUC {auc:.3f} ({low:.3f}–{high:.3f}), precision {precision:.3f}, "
                f"recall {recall:.3f}, F1 {f1:.3f}; {counted(self.counts[name], 'example')}"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return fragment(TITLE, self._parts())

    def _parts(self) -> list[str]:
        group = self.scores["group"]
        kept_apart = f", the objects of one {group} never in two of them" if group else ""
        how = f"Judged in {self.scores['folds']} folds{kept_apart}."
        return training_parts(self.description, self.examples, self.judged, how)


def train(
    tables: ObjectTable | Sequence[ObjectTable],
    labels: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    features: Sequence[str] = (),
    estimator: str = "",
    parameters: Mapping[str, Any] | None = None,
    positive: str = "",
    folds: int | None = None,
    group: str = "",
    unit: str = "",
    seed: int = 0,
    overwrite: bool = False,
) -> Trained:
    """Train the model of the task `classify` on objects that people have labelled.

    `tables` is one table of objects or several: a work folder (its `objects`), WORK:TABLE, its own place, or
    what is known of it. `labels` has a file for each, with a column `class` and ids or places of objects, in
    voxels unless the file or `unit` (um, nm, mm) says otherwise. The model is written to the file `to`, which
    ends in .skops, and a page of its scores beside it.

    `features` are patterns of columns, `estimator` is a classifier of scikit-learn as module:Class, and
    `parameters` are its own. With `positive` the threshold of this class is chosen for its F1. Objects alike
    in the column `group` (`work`: those of one table) share one of the `folds` (5, or one a group).

    With a group the model is made for the next brain: features left out are those that mean the same there
    (diameter, roundness, skew, kurtosis, contrast-to-noise ratios), the estimator is a logistic regression
    whose classes weigh the same, and the threshold is the best in the mean over the groups, each judged by
    others. Without one, a support vector machine learns from all that `measure` says of size and intensity.

    >>> model = train(work.table("objects"), folder / "labels.csv", folder / "cells.skops")
    >>> sorted(model.counts)
    ['glia', 'neuron']
    >>> auc, low, high = model.scores["classes"]["neuron"]["roc_auc"]  # with its interval of 95 %
    """
    to = Path(to)
    _refuse(to, overwrite)
    recipe = Recipe.of(estimator or (CARRYING if group else DEFAULT), parameters or {}, seed)
    gathered = gather(tables, labels, features, group, unit)
    examples = gathered.examples
    folds = usual_folds(examples) if folds is None else folds
    with told_with(gathered.remarks):
        judged = _judged(recipe, examples, folds, seed, positive)
    scores = score(examples, judged, seed) | {"folds": folds, "group": group}
    known = describe(examples, gathered.features, recipe, judged, positive, seed, scores)
    save(to, recipe.build(examples.smallest).fit(examples.features, examples.said), known)
    trained = Trained(to, known, tuple(gathered.remarks), examples, judged)
    trained.report.write_text(page(TITLE, trained._parts()), encoding="utf-8")
    return trained


def _judged(recipe: Recipe, examples: Examples, folds: int, seed: int, positive: str) -> Judged:
    """What each example is judged to be by the others; refuses what cannot be learned from."""
    refuse_few(examples, folds)
    if positive and positive not in examples.names:
        raise BadInput(f"No label is of the positive class {positive}, but {', '.join(examples.names)}.")
    number = examples.names.index(positive) if positive else None
    try:
        return cross_validate(recipe.build, examples, folds, seed, number)
    except (ValueError, TypeError) as error:  # an estimator looks at its parameters when it is fitted
        raise BadInput(f"{recipe} cannot be trained: {' '.join(str(error).split())}") from error


def _report_of(model: Path) -> Path:
    return model.with_suffix(".html")


def _refuse(to: Path, overwrite: bool) -> None:
    refuse_model(to, ".skops", overwrite)
    refuse_existing(_report_of(to), overwrite)


def describe(
    examples: Examples,
    features: list[str],
    recipe: Recipe,
    judged: Judged | None,
    positive: str,
    seed: int,
    scores: dict[str, Any],
) -> Description:
    """What the file of a model says of it; the threshold is HALF where nothing could be judged."""
    threshold = HALF if positive else 0.0
    if positive and judged is not None:
        number = examples.names.index(positive)
        threshold = best_threshold(judged.probabilities[:, number], examples, number)
    return Description(
        features=features,
        classes=list(examples.names),
        positive=positive,
        threshold=threshold,
        estimator=str(recipe),
        seed=seed,
        examples=examples.counts,
        data=fingerprint_of(features, examples),
        scores=scores,
        versions=versions(),
        trained=datetime.now(UTC).date().isoformat(),
    )
