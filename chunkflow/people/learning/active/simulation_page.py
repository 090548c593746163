"""The page of simulated rounds: a curve a strategy, and how many labels each needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chunkflow.data.atomic import write_whole
from chunkflow.people.learning.active.simulation import HELD_FOR, SHARE, Simulated
from chunkflow.people.reports.pages import page, paragraph, picture, table
from chunkflow.people.reports.pictures import COLOURS, GREY, figure, png

TITLE = "What strategies would have needed"


def write_simulation(tried: Simulated, to: Path) -> None:
    """Write the page of simulated rounds."""
    write_whole(to, page(TITLE, simulation_parts(tried)).encode())


def simulation_parts(tried: Simulated) -> list[str]:
    """What stands on the page, below its title."""
    seeds = len(tried.of(tried.strategies[0]))
    head = ["strategy", f"labels for {SHARE:.0%} of the F1 of all", "of it in the end", "F1 of all labels"]
    return [
        paragraph(
            f"Each strategy went through the same rounds from {seeds} seeds, on half of the table; the other "
            f"half judged. Labels are those after which the F1 is held for {HELD_FOR} rounds, their median "
            "over the seeds."
        ),
        table(head, [_row(tried, name) for name in tried.strategies]),
        picture(_curves(tried), "F1 over labels: the median over the seeds, and half of them around it."),
    ]


def _row(tried: Simulated, name: str) -> list[str]:
    needed = tried.labels_to_hold(name)
    whole = float(np.median([curve.all_labels.f1 for curve in tried.of(name)]))
    held = f"{needed:g}" if np.isfinite(needed) else "not held"
    return [name, held, f"{tried.last_f1(name):.1%}", f"{whole:.3f}"]


def _curves(tried: Simulated) -> bytes:
    drawn = figure(7.0, 4.2)
    axes = drawn.subplots()
    for number, name in enumerate(tried.strategies):
        curves = tried.of(name)
        length = min(len(curve.rounds) for curve in curves)
        labels = [one.labels for one in curves[0].rounds[:length]]
        f1 = np.array([[one.f1 for one in curve.rounds[:length]] for curve in curves])
        low, middle, high = np.quantile(f1, (0.25, 0.5, 0.75), axis=0)
        colour = COLOURS[number % len(COLOURS)]
        axes.fill_between(labels, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(labels, middle, "o-", color=colour, markersize=3, label=name)
    whole = float(np.median([curve.all_labels.f1 for curve in tried.curves]))
    axes.axhline(whole, color=GREY, linewidth=1, linestyle=":", label="all labels")
    axes.set(xlabel="labels", ylabel="F1", ylim=(-0.02, 1.02))
    axes.legend(loc="lower right")
    return png(drawn)
