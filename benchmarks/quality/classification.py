"""Cells told from what merely is bright, on real light-sheet volumes: candidates, then a classifier.

1. `segment` finds candidates at a permissive threshold, about four times as many as by the automatic one.
2. `measure` measures them, with contrasts at several diameters and how uneven the image is around them.
3. A candidate is a cell if it is paired with one of the truth, one to one within 10 µm.
4. Candidates are judged in nine folds, blocks of space: all that is chosen (the threshold on the probability,
   too) comes of the other eight. What is judged to be a cell is held against the truth of the whole volume.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.figure import Figure
from chunkflow.people.learning.estimator import DEFAULT, Recipe
from chunkflow.people.learning.features import FEATURES
from testbed.classification import TREES, TREES_PARAMETERS, candidates, judge, judged_by_trees
from testbed.detection import (
    TISSUES,
    scan,
)

WANTED = {"c-Fos": 0.66, "microglia": 0.90}


def run() -> list[Figure]:
    figures = []
    for tissue in TISSUES:
        if not tissue.path.exists():
            print(f"classification: {tissue.path} is not here; nothing measured.")
            continue
        best, _ = scan(*tissue.load(), tissue.diameter)
        found = candidates(tissue)
        name, all_features = tissue.name, (*FEATURES, "image_contrast_*", "image_surround")
        print(f"{name}: {len(found.rows)} candidates, {int(found.is_cell.sum())} of {len(found.truth)} cells")
        bare = f"{name}, best single threshold, truth in hand"
        figures.append(Figure(bare, round(best, 3), "F1"))
        for what, judged in (
            ("SVM", judge(found, DEFAULT, {}, FEATURES)),
            ("SVM, contrasts and surround", judge(found, DEFAULT, {}, all_features)),
            ("trees, contrasts and surround", judged_by_trees(found)),
        ):
            target = WANTED[name] if what.startswith("trees") else None
            figures.append(Figure(f"{name}, {what}", round(found.f1(judged), 3), "F1", target=target))
    return [*figures, _speed(DEFAULT, {}), _speed(TREES, TREES_PARAMETERS)]


def _speed(estimator: str, parameters: dict[str, Any]) -> Figure:
    """How many objects a second are given probabilities, by a model of a thousand examples."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(101_000, 6))
    classes = (rows[:, 0] + 0.5 * random.normal(size=len(rows)) > 0).astype(int)
    fitted = Recipe.of(estimator, parameters, 0).build(400).fit(rows[:1000], classes[:1000])
    began = time.perf_counter()
    fitted.predict_proba(rows[1000:])
    rate = 100_000 / (time.perf_counter() - began)
    return Figure(f"objects classified a second, {estimator}", round(rate), "objects/s")


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
