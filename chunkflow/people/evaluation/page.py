"""The page of an evaluation: its numbers, its curves, and where objects were found, missed and wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chunkflow.kernels.scoring.scores import Curve
from chunkflow.people.evaluation.scores import COLOURS, Comparison, Scores
from chunkflow.people.reports.pages import heading, paragraph, picture, table
from chunkflow.people.reports.pictures import BLUE, GREY, RED, TEAL, figure, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 9.5
MOST_DRAWN = 20_000


def evaluation_parts(comparison: Comparison, scores: Scores, facts: list[str]) -> list[str]:
    """What stands on the page, below its title; `facts` say what was compared."""
    rows = [
        [
            name,
            f"{value:,.0f}" if float(value).is_integer() and value > 1 else f"{value:.4g}",
            _interval(scores, name),
        ]
        for name, value in scores.values.items()
    ]
    where = "Each object at its place, seen along z and along y."
    if len(comparison.outcomes()) > MOST_DRAWN:
        where += f" Of each kind a share is drawn, {MOST_DRAWN:,} in all."
    return [
        *map(paragraph, facts),
        heading("Scores"),
        table(("score", "value", "95 % certain"), rows),
        paragraph(f"Intervals are from drawing {scores.drawn} anew a thousand times."),
        heading("Curves"),
        picture(curves_picture(scores, comparison), _curves_caption(scores)),
        heading("Where"),
        picture(where_picture(comparison), where),
    ]


def _interval(scores: Scores, name: str) -> str:
    return str(scores.intervals[name]) if name in scores.intervals else ""


def _curves_caption(scores: Scores) -> str:
    if "IoU" in scores.over:
        return "F1 and average precision, TP / (TP + FP + FN), by the IoU from which objects match."
    tolerance = "F1 by how far apart a pair may lie"
    return (
        f"{tolerance}; precision over recall as the least score falls (dotted: F1 0.2, 0.4, 0.6, 0.8)."
        if scores.curve
        else f"{tolerance}."
    )


def curves_picture(scores: Scores, comparison: Comparison) -> bytes:
    drawn = figure(WIDTH if scores.curve else WIDTH / 1.6, 3.6)
    axes = drawn.subplots(1, 2 if scores.curve else 1, squeeze=False)[0]
    if "IoU" in scores.over:
        axes[0].plot(scores.over["IoU"], scores.over["F1"], "o-", color=BLUE, label="F1")
        precision = scores.over["average_precision"]
        axes[0].plot(scores.over["IoU"], precision, "o-", color=TEAL, label="average precision")
        axes[0].set(xlabel="least IoU of a match", ylim=(0, 1.03))
    else:
        axes[0].plot(scores.over["tolerance_um"], scores.over["F1"], "o-", color=BLUE, label="F1")
        axes[0].axvline(comparison.tolerance, color=RED, linewidth=1, label="tolerance given")
        axes[0].set(xlabel="tolerance, µm", ylabel="F1", ylim=(0, 1.03))
    axes[0].legend()
    if scores.curve is not None:
        _draw_curve(axes[1], scores.curve, comparison.found.score)
    return png(drawn)


def _draw_curve(axes: Axes, curve: Curve, name: str) -> None:
    best = int(np.argmax(curve.f1))
    axes.step(curve.recall, curve.precision, where="post", color=BLUE)
    level = f"best F1 {curve.f1[best]:.3f}, at {name} ≥ {curve.threshold[best]:.3g}"
    axes.plot(curve.recall[best], curve.precision[best], "o", color=RED, label=level)
    recall = np.linspace(0.01, 1, 200)
    for f1 in (0.2, 0.4, 0.6, 0.8):
        precision = np.divide(f1 * recall, 2 * recall - f1, out=np.full(200, 2.0), where=2 * recall > f1)
        axes.plot(
            *(part[precision <= 1] for part in (recall, precision)), color=GREY, linewidth=0.6, linestyle=":"
        )
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.03))
    axes.legend(loc="lower left")


def where_picture(comparison: Comparison) -> bytes:
    rows = comparison.outcomes()
    places = np.stack([rows[axis].to_numpy() for axis in "xyz"], 1)
    places = places * (np.array(comparison.layer.voxel_size) / 1000)
    kinds = np.array(rows["outcome"].to_pylist(), dtype=str)
    every = -(-len(kinds) // MOST_DRAWN) if len(kinds) else 1
    spans = np.ptp(places, axis=0) if len(places) else np.ones(3)
    height = float(np.clip(4.4 * max(spans[1:]) / max(spans[0], 1e-9), 3.0, 8.0)) + 0.4
    drawn = figure(WIDTH, height)
    for axes, up in zip(drawn.subplots(1, 2), (1, 2), strict=True):
        for name, size in (("wrong", 9), ("found", 9), ("missed", 14)):
            colour = COLOURS[name]
            shown = places[kinds == name][::every]
            label = f"{name}: {(kinds == name).sum():,}"
            axes.scatter(
                shown[:, 0], shown[:, up], s=size, color=colour, label=label, linewidths=0, alpha=0.8
            )
        axes.set(xlabel="x, µm", ylabel=f"{'xyz'[up]}, µm")
        axes.set_aspect("equal")
        axes.set_anchor("N")
        axes.invert_yaxis()
    drawn.legend(
        *drawn.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False
    )
    return png(drawn)
