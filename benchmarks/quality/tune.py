"""How well a setting tuned on the 20 cells of one region does on the whole of a real volume.

A region is a cube around a random place, as large as it must be to hold 20 cells. The gap is what the setting
chosen there lacks of the best F1 over the whole volume that any diameter and any contrast reach.
"""

from __future__ import annotations

import numpy as np

from benchmarks.figure import Figure
from testbed.detection import TISSUES
from testbed.tuning import CELLS, DRAWS, LARGEST_GAP, Tried, gaps


def run() -> list[Figure]:
    figures = []
    for tissue in TISSUES:
        if not tissue.path.exists():
            print(f"tune: {tissue.path} is not here; nothing measured.")
            continue
        tried = Tried.of(tissue)
        found = gaps(tried)
        of = f"{tissue.name}, tuned on {CELLS} cells of one region, {DRAWS} draws"
        figures += [
            Figure(f"{tissue.name}, best F1 of any setting", round(tried.best, 3), "F1"),
            Figure(
                f"{of}: median gap",
                round(float(np.median(found)), 3),
                "F1",
                better="lower",
                target=LARGEST_GAP,
            ),
            Figure(f"{of}: 90th percentile", round(float(np.quantile(found, 0.9)), 3), "F1", better="lower"),
        ]
    return figures


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
