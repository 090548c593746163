"""Scores of several ways to find cells, with their spread over seeds, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from chunkflow.people.learning.networks.cells import AskedPlaces

NAMES = ("F1", "accuracy", "precision", "recall", "ROC AUC", "PR AUC")
PUBLISHED = {
    "F1": 0.737,
    "accuracy": 0.961,
    "precision": 0.965,
    "recall": 0.596,
    "ROC AUC": 0.916,
    "PR AUC": 0.791,
}
PUBLISHED_BY = ("a 3D CNN for cleared brains, published", "eight brains in four folds")
Scored = Mapping[str, Sequence[Mapping[str, AskedPlaces]]]
"""By way: for each seed what it says of each volume."""


def spread(values: Sequence[float]) -> str:
    """The mean over seeds, and the lowest and highest where they differ."""
    low, high, mean = min(values), max(values), float(np.mean(values))
    return f"{mean:.3f}" if high - low < 5e-4 else f"{mean:.3f} ({low:.3f} to {high:.3f})"


def table(title: str, scored: Scored, parts: Sequence[Sequence[str]], published: bool = False) -> Table:
    """Each way in each part, which are volumes by name, and in all of them together."""
    shown = Table(title=title, title_justify="left")
    for name in ("way", "tested on", *NAMES):
        shown.add_column(name, justify="left" if name in ("way", "tested on") else "right")
    everything = [name for part in parts for name in part]
    several = [(_said(part), part) for part in parts] if len(parts) > 1 else []
    for way, seeds in scored.items():
        for said, part in (*several, ("pooled", everything)):
            values = [AskedPlaces.together([seed[name] for name in part]).values for seed in seeds]
            shown.add_row(way, said, *(spread([one[name] for one in values]) for name in NAMES))
            way = ""
        shown.add_section()
    if published:
        shown.add_row(*PUBLISHED_BY, *(f"{PUBLISHED[name]:.3f}" for name in NAMES))
    return shown


def show(shown: Table) -> None:
    Console(width=max(Console().width, 200)).print(shown)


def _said(part: Sequence[str]) -> str:
    return ", ".join(name.rpartition("_")[2] for name in part)
