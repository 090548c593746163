"""The page of a training: what was learned from, and how well unseen objects were judged."""

from __future__ import annotations

from typing import Any

import numpy as np

from chunkflow.people.learning.model import Description
from chunkflow.people.learning.scores import Examples, Judged
from chunkflow.people.reports.pages import heading, paragraph, picture, table
from chunkflow.people.reports.pictures import COLOURS, GREY, INK, figure, png
from chunkflow.words import counted

BINS = 10
MEASURES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}


def training_parts(description: Description, examples: Examples, judged: Judged, how: str) -> list[str]:
    """What stands on the page, below its title; `how` says how the folds were cut."""
    scores = description.scores
    parts = [
        paragraph(
            f"{description.estimator}, trained on {counted(len(examples.classes), 'object')} "
            f"({_listed(description.examples)}). {how} Intervals hold with a certainty of 95 %."
        ),
        heading("Scores"),
        table(["class", "examples", *MEASURES.values()], _rows(description)),
        paragraph(f"Of all, {_with_interval(scores['accuracy'])} were given their class."),
    ]
    if description.positive:
        parts.append(
            paragraph(
                f"An object is of the class {description.positive} from a probability of "
                f"{description.threshold:.3f} on, where its F1 is largest{_by_group(scores)}; in every fold "
                "this threshold was chosen from the training part alone."
            )
        )
    return [
        *parts,
        picture(curves(examples, judged), "Each class against all others, at every threshold."),
        heading("Which classes are taken for which"),
        picture(confusion(scores["confusion"], examples.names), "Counts, and shares of the true class."),
        heading("Whether the probabilities can be believed"),
        picture(
            calibration(examples, judged),
            "Of the objects that were given about the same probability of a class, how many are of it: on "
            "the diagonal the probability is right. An estimator that weighs classes the same, as the one "
            "used with groups does, gives a rare class more than its share. Below, how many objects were "
            "given which.",
        ),
        heading("The model"),
        table(["", ""], _facts(description)),
    ]


def _by_group(scores: dict[str, Any]) -> str:
    return f" in the mean over groups ({scores['group']})" if scores.get("group") else ""


def curves(examples: Examples, judged: Judged) -> bytes:
    """ROC and precision over recall, a line a class."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    drawn = figure(9.5, 4.4)
    roc, pr = drawn.subplots(1, 2)
    roc.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    for number, name in _shown(examples):
        colour = COLOURS[number % len(COLOURS)]
        true, probability = examples.classes == number, judged.probabilities[:, number]
        wrong, right, _ = roc_curve(true, probability)
        roc.plot(wrong, right, color=colour, linewidth=1.8, label=name)
        precision, recall, _ = precision_recall_curve(true, probability)
        pr.plot(recall, precision, color=colour, linewidth=1.8, drawstyle="steps-post", label=name)
    roc.set(xlabel="share of the others taken for it", ylabel="share found (recall)", title="ROC")
    pr.set(
        xlabel="share found (recall)", ylabel="share of those found that are right", title="Precision, recall"
    )
    for axes in (roc, pr):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.legend(loc="lower right" if axes is roc else "lower left", title="")
    return png(drawn)


def confusion(counts: list[list[int]], names: tuple[str, ...]) -> bytes:
    """The confusion matrix, true classes in rows."""
    matrix = np.array(counts)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = max(3.6, 1.0 + 0.9 * len(names))
    drawn = figure(side + 0.8, side)
    axes = drawn.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        colour = "white" if shares[row, column] > 0.6 else INK
        text = f"{matrix[row, column]:,}\n{100 * shares[row, column]:.0f} %"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10)
    slanted = 35 if max(map(len, names)) > 8 else 0
    axes.set_xticks(range(len(names)), names, rotation=slanted, ha="right" if slanted else "center")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="judged to be", ylabel="truly is")
    return png(drawn)


def calibration(examples: Examples, judged: Judged) -> bytes:
    """How often a probability comes true, and how often it is given."""
    drawn = figure(6.4, 5.6)
    upper, lower = drawn.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    edges = np.linspace(0, 1, BINS + 1)
    for number, name in _shown(examples):
        colour = COLOURS[number % len(COLOURS)]
        probability = judged.probabilities[:, number]
        bins = np.minimum((probability * BINS).astype(int), BINS - 1)
        total = np.bincount(bins, minlength=BINS)
        true = np.bincount(bins, examples.classes == number, BINS)
        mean = np.bincount(bins, probability, BINS)
        there = total > 0
        upper.plot(
            mean[there] / total[there],
            true[there] / total[there],
            color=colour,
            linewidth=1.8,
            marker="o",
            markersize=4,
            label=name,
        )
        lower.hist(probability, edges, histtype="step", color=colour, linewidth=1.5)
    upper.set(ylabel="share that is of the class", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02))
    upper.legend(loc="upper left")
    lower.set(xlabel="probability given", ylabel="objects")
    lower.locator_params(axis="y", nbins=3)
    return png(drawn)


def _shown(examples: Examples) -> list[tuple[int, str]]:
    """The classes to draw: of two one is enough, as the other is its mirror image."""
    numbered = list(enumerate(examples.names))
    return numbered[1:] if len(numbered) == 2 else numbered


def _rows(description: Description) -> list[list[str]]:
    return [
        [name, f"{description.examples[name]:,}", *(_with_interval(found[measure]) for measure in MEASURES)]
        for name, found in description.scores["classes"].items()
    ]


def _with_interval(values: list[float]) -> str:
    value, low, high = values
    return f"{value:.3f} ({low:.3f}–{high:.3f})" if np.isfinite(value) else "none found"


def _listed(examples: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in examples.items())


def _facts(description: Description) -> list[list[str]]:
    return [
        ["features", ", ".join(description.features)],
        ["seed", str(description.seed)],
        ["fingerprint of the examples", description.data[:16]],
        ["trained", description.trained],
        ["with", ", ".join(f"{name} {version}" for name, version in description.versions.items())],
    ]
