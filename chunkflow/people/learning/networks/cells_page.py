"""What the page of a training says of cells, round by round, and of folds."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from chunkflow.people.learning.networks.cells import AskedPlaces
from chunkflow.people.learning.networks.folds import FoldsTested
from chunkflow.people.learning.networks.scores import NetworkScores
from chunkflow.people.reports.pages import heading, paragraph, picture, table
from chunkflow.people.reports.pictures import BLUE, GREY, TEAL, figure, png

COUNTS = {"wrong": "false positives", "missed": "false negatives"}
"""The columns of counts."""
CERTAIN = "F1, 95 % certain"
CURVES = "ROC, and precision over recall, by both protocols."
Row = tuple[str, AskedPlaces, str]
"""What it is called, what was asked, and where F1 lies."""


def cells_parts(rounds: Sequence[NetworkScores]) -> list[str]:
    """The scores of cells after each round, by two protocols; nothing where voxels were learnt."""
    if rounds[-1].cells is None:
        return []
    rows = []
    for number, scores in enumerate(rounds, start=1):
        of = f", round {number}" if len(rounds) > 1 else ""
        rows += _protocols(scores, f"all cells{of}", f"places at random{of}")
    return [
        heading("Cells"),
        paragraph(
            "All cells: everything that was found, or every candidate, held against every cell, paired one "
            "to one. Places at random: the cells, and ten places for each, between 6 and 20 voxels from "
            "cells, as papers often have it. Most of these are dark, so this flatters; it is the one to "
            "hold against papers. Wrong are false positives, missed are false negatives."
        ),
        *_table("protocol", rows),
        picture(_curves(rounds[-1]), CURVES),
    ]


def folds_parts(folds: FoldsTested) -> list[str]:
    """The scores of each fold and of all together, after each round."""
    parts = [
        heading("Folds"),
        paragraph(
            "Each row is one network more, tested on a part of the data of which it has seen nothing; "
            "its threshold comes from its own validation. Below all are taken together."
        ),
    ]
    for number in range(folds.rounds):
        of = f", round {number + 1}" if folds.rounds > 1 else ""
        found = [*zip(folds.names, folds.of_round(number), strict=True)]
        pooled = folds.pooled_of_round(number)
        if pooled.cells is None:
            head = ["tested on", *pooled.values, CERTAIN]
            parts.append(table(head, [_plain(*one) for one in (*found, ("all", pooled))]))
            continue
        rows = [row for name, scores in found for row in _protocols(scores, name, "")]
        parts += _table(f"tested on{of}", [*rows, *_protocols(pooled, "all", "all, places at random")])
    if folds.pooled.cells is not None:
        parts.append(picture(_curves(folds.pooled), CURVES))
    return parts


def _protocols(scores: NetworkScores, cells: str, controls: str) -> list[Row]:
    """Rows for both protocols; for the usual one only where it has a name."""
    found = [(cells, scores.cells, str(scores.intervals["F1"])), (controls, scores.controls, "")]
    return [(name, asked, certain) for name, asked, certain in found if name and asked is not None]


def _table(first: str, rows: Sequence[Row]) -> list[str]:
    names = list(rows[0][1].values)
    lines = [[name, *_numbers(asked), certain] for name, asked, certain in rows]
    parts = [table([first, *names, *COUNTS, CERTAIN], lines)]
    called = [(name, asked) for name, asked, _ in rows if asked.called]
    if called:
        head = [first, "wrong", "of these cells, by review", "F1, adjusted", "precision, adjusted"]
        parts.append(table(head, [[name, *_adjusted(asked)] for name, asked in called]))
    return parts


def _numbers(asked: AskedPlaces) -> list[str]:
    counts = asked.counts
    shown = ["" if isnan(value) else f"{value:.3f}" for value in asked.values.values()]
    return [*shown, *(f"{counts[name]:,}" for name in COUNTS.values())]


def _adjusted(asked: AskedPlaces) -> list[str]:
    wrong = asked.counts["false positives"]
    return [f"{wrong:,}", f"{asked.called:,}", *(f"{value:.3f}" for value in asked.adjusted.values())]


def _plain(name: str, scores: NetworkScores) -> list[str]:
    return [name, *(f"{value:.3f}" for value in scores.values.values()), str(scores.intervals["F1"])]


def _curves(scores: NetworkScores) -> bytes:
    drawn = figure(7.5, 3.6)
    left, right = drawn.subplots(1, 2)
    for name, asked, colour in (
        ("all cells", scores.cells, BLUE),
        ("places at random", scores.controls, TEAL),
    ):
        if asked is None or asked.curve is None:
            continue
        left.step(*asked.roc, where="post", color=colour, label=name)
        right.step(asked.curve.recall, asked.curve.precision, where="post", color=colour, label=name)
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    left.set(xlabel="of what is no cell", ylabel="of cells", title="ROC", xlim=(0, 1.02), ylim=(0, 1.03))
    right.set(
        xlabel="recall", ylabel="precision", title="Precision over recall", xlim=(0, 1.02), ylim=(0, 1.03)
    )
    right.legend(loc="lower left")
    return png(drawn)
