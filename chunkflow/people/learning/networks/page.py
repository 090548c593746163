"""The page of a network's training: how it went, how good it is, and where it is worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import yaml

from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.people.learning.networks.cells_page import cells_parts, folds_parts
from chunkflow.people.learning.networks.few_labels import FewLabels, few_labels_parts
from chunkflow.people.learning.networks.folds import FoldsTested
from chunkflow.people.learning.networks.other_light import light_parts
from chunkflow.people.learning.networks.pictures import worst_places
from chunkflow.people.learning.networks.scores import NetworkScores
from chunkflow.people.reports.pages import heading, paragraph, picture, table, verbatim
from chunkflow.people.reports.pictures import BLUE, RED, TEAL, figure, png

if TYPE_CHECKING:
    from chunkflow.kernels.scoring.scores import Curve
    from chunkflow.networks.training.training import Training


def network_parts(
    recipe: NetworkRecipe,
    training: Training,
    rounds: Sequence[NetworkScores],
    other_light: NetworkScores,
    folds: FoldsTested | None,
    few_labels: FewLabels | None,
) -> list[str]:
    """What stands on the page, below its title."""
    made, regions, scores = training.document.made, training.predicted, rounds[-1]
    judged = f"{sum(int(one.region.judged.sum()) for one in regions):,} voxels"
    if recipe.judges and scores.cells is not None:
        judged = f"{len(scores.cells.chances):,} candidates"
    parts = [
        paragraph(
            f"{recipe.architecture}, trained with the seed {recipe.seed}, and judged on {judged} "
            f"that it has not learnt from. The best weights are those of step {made.steps:,}."
        ),
        heading("Scores"),
        table(["score", "value", "95 % certain"], _rows(scores)),
        paragraph(
            f"Intervals are from drawing anew, a thousand times, {scores.drawn}. {_threshold(training)}"
        ),
    ]
    if len(scores.by_class) > 1:
        parts.append(table(["class", "F1", "precision", "recall"], _class_rows(scores)))
    parts.append(
        picture(
            _curves(training, scores.curve),
            "The loss of the examples, and F1 on the validation, as the network learnt"
            + ("; precision over recall, as the threshold falls." if scores.curve else "."),
        )
    )
    parts += cells_parts(rounds)
    parts += light_parts(scores, other_light)
    if folds is not None:
        parts += folds_parts(folds)
    if few_labels is not None:
        parts += few_labels_parts(recipe, few_labels, scores)
    worst = worst_places(recipe, training)
    if worst is not None:
        parts += [heading("Where it is worst"), picture(*worst)]
    return [
        *parts,
        heading("The recipe"),
        verbatim(yaml.safe_dump(recipe.model_dump(mode="json", exclude_unset=True), sort_keys=False)),
        heading("The model"),
        table(["", ""], _facts(training)),
    ]


def _rows(scores: NetworkScores) -> list[list[str]]:
    return [[name, f"{value:.3f}", str(scores.intervals[name])] for name, value in scores.values.items()]


def _class_rows(scores: NetworkScores) -> list[list[str]]:
    return [[name, *(f"{value:.3f}" for value in found.values())] for name, found in scores.by_class.items()]


def _threshold(training: Training) -> str:
    chosen = [output.threshold for output in training.document.outputs if output.threshold is not None]
    if not chosen:
        return ""
    return (
        f"The threshold, {chosen[0]:.3f}, is the one of the best F1 on the same voxels, so the scores are a "
        "little too good: boxes of `held_out`, or another brain, tell how good it is elsewhere."
    )


def _curves(training: Training, curve: Curve | None) -> bytes:
    drawn = figure(9.5, 3.6)
    axes = drawn.subplots(1, 3 if curve is not None else 2)
    steps = [check.step for check in training.checks]
    axes[0].plot(steps, [check.loss for check in training.checks], "o-", color=BLUE, markersize=3)
    axes[0].set(xlabel="step", ylabel="loss", title="Examples", ylim=(0, None))
    axes[1].plot(steps, [check.score for check in training.checks], "o-", color=TEAL, markersize=3)
    best = training.document.made.steps
    axes[1].axvline(best, color=RED, linewidth=1, label=f"kept: step {best}")
    axes[1].set(xlabel="step", ylabel="F1", title="Validation", ylim=(0, 1.03))
    axes[1].legend(loc="lower right")
    if curve is not None:
        top = int(np.argmax(curve.f1))
        axes[2].step(curve.recall, curve.precision, where="post", color=BLUE)
        axes[2].plot(curve.recall[top], curve.precision[top], "o", color=RED)
        axes[2].set(xlabel="recall", ylabel="precision", title="Cells", xlim=(0, 1.02), ylim=(0, 1.03))
    return png(drawn)


def _facts(training: Training) -> list[list[str]]:
    made = training.document.made
    return [
        ["file", str(training.path)],
        ["fingerprint of the data", made.data[:16]],
        ["with", ", ".join(f"{name} {version}" for name, version in made.versions.items())],
    ]
