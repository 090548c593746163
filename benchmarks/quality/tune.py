"""How well what tuning proposes from the 20 cells of one region does on the whole of a real volume.

A region is a cube around a random place, as large as it must be to hold 20 cells. The loss is what the
setting proposed there lacks of the best F1 over the whole volume: of any diameter and any contrast, and of
any contrast at the diameter given.
"""

from __future__ import annotations

import numpy as np

from benchmarks.figure import Figure
from testbed.detection import TISSUES
from testbed.tuning import CELLS, DRAWS, LARGEST, MEDIAN, NINETIETH, Losses, Tried, losses


def run() -> list[Figure]:
    figures = []
    for tissue in TISSUES:
        if not tissue.path.exists():
            print(f"tune: {tissue.path} is not here; nothing measured.")
            continue
        tried = Tried.of(tissue)
        automatic = tried.score(tried.automatic.diameter, tried.automatic.contrast)
        figures += [
            Figure(f"{tissue.name}, best F1 of any setting", round(tried.best, 3), "F1"),
            Figure(f"{tissue.name}, F1 of the automatic setting", round(automatic, 3), "F1"),
            *figures_of(f"{tissue.name}, tuned on {CELLS} cells of one region, {DRAWS} draws", losses(tried)),
        ]
    return figures


def figures_of(name: str, found: Losses) -> list[Figure]:
    """The losses of one volume, and how often the cells' own choice was proposed."""
    rows = [("median", 0.5, MEDIAN), ("90th percentile", 0.9, NINETIETH), ("largest", 1.0, LARGEST)]
    figures = [
        Figure(f"{name}: {word} loss", _rounded(found.any, part), "F1", better="lower", target=target)
        for word, part, target in rows
    ]
    figures += [
        Figure(
            f"{name}: {word} loss at the diameter given", _rounded(found.given, part), "F1", better="lower"
        )
        for word, part, _ in rows
    ]
    return [*figures, Figure(f"{name}: proposed what the cells chose", round(found.chosen, 2), "share")]


def _rounded(values: np.ndarray, part: float) -> float:
    return round(float(np.quantile(values, part)), 3)


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
