"""Cells told from what merely is bright, on real light-sheet volumes: candidates, then a classifier.

1. `segment` finds candidates at a permissive threshold, about four times as many as by the automatic one.
2. `measure` measures them, with contrasts at several diameters and how uneven the image is around them.
3. A candidate is a cell if it is paired with one of the truth, one to one within 10 µm.
4. Candidates are judged in nine folds, blocks of space: all that is chosen (the threshold on the probability,
   too) comes of the other eight. What is judged to be a cell is held against the truth of the whole volume.
5. Leave one brain out: what the other brains of a stain teach, the threshold included, is held against the
   whole truth of each of eleven brains; the features and the estimator of before stand beside the defaults.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.figure import Figure
from chunkflow.people.learning.estimator import CARRYING, DEFAULT, Recipe
from chunkflow.people.learning.features import CARRIED, FEATURES
from testbed.classification import (
    TREES,
    TREES_PARAMETERS,
    candidates,
    carried_over,
    judge,
    judged_by_trees,
    permissive_candidates,
)
from testbed.detection import BRAINS, ONE_OF_EACH_STAIN, Peaks

IN_FOLDS = {"c-Fos 753": 0.66, "microglia 6003": 0.90}
CARRIED_OVER = {"c-Fos": 0.55, "microglia": 0.92}


def run() -> list[Figure]:
    figures = []
    for tissue in ONE_OF_EACH_STAIN:
        if not tissue.path.exists():
            print(f"classification: {tissue.path} is not here; nothing measured.")
            continue
        best = Peaks.of(*tissue.load(), tissue.diameter).best
        found = candidates(tissue)
        name, all_features = tissue.name, (*FEATURES, "image_contrast_*", "image_surround")
        print(f"{name}: {len(found.rows)} candidates, {int(found.is_cell.sum())} of {len(found.truth)} cells")
        bare = f"{name}, best single threshold, truth in hand"
        figures.append(Figure(bare, round(best, 3), "F1"))
        for what, judged in (
            ("SVM", judge(found, DEFAULT, {}, FEATURES)),
            ("SVM, contrasts and surround", judge(found, DEFAULT, {}, all_features)),
            ("SVM, all features", judge(found, DEFAULT, {}, ())),
            ("trees, contrasts and surround", judged_by_trees(found)),
        ):
            target = IN_FOLDS[name] if what.startswith("trees") else None
            figures.append(Figure(f"{name}, {what}", round(found.f1(judged), 3), "F1", target=target))
    for stain in BRAINS:
        figures += _carried_over(stain)
    return [*figures, _speed(DEFAULT, {}), _speed(TREES, TREES_PARAMETERS)]


def _carried_over(stain: str) -> list[Figure]:
    """The F1 on each brain of a classifier that has learnt from the others of its stain."""
    tissues = BRAINS[stain]
    absent = [str(tissue.path) for tissue in tissues if not tissue.path.exists()]
    if absent:
        print(f"classification: {', '.join(absent)} is not here; no brain of {stain} is left out.")
        return []
    found = [permissive_candidates(tissue) for tissue in tissues]
    before = carried_over(found, DEFAULT, FEATURES, grouped=False)
    now = carried_over(found, CARRYING, CARRIED)
    figures = [
        Figure(
            f"{tissue.name}, learnt from the others",
            round(ours, 3),
            "F1",
            round(peer, 3),
            "features of before",
        )
        for tissue, ours, peer in zip(tissues, now, before, strict=True)
    ]
    mean, wanted = round(float(np.mean(now)), 3), CARRIED_OVER[stain]
    print(f"{stain}, features of before, mean: {np.mean(before):.3f}")
    return [*figures, Figure(f"{stain}, learnt from the others, mean", mean, "F1", target=wanted)]


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
