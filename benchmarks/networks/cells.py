"""Cells found by networks on real light-sheet volumes, beside features and together with them.

1. By brain: eight of microglia in four folds, three of c-Fos one by one; also how many cells are among the
   highest peaks of a heatmap, without the candidates of `segment`.
2. Within one volume, in slabs of space, by the honest protocol and by the usual one of papers.
All of it with three seeds, of which the lowest and highest are said; about an hour on two cores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.figure import Figure
from benchmarks.networks.cells_table import Scored, show, spread, table
from benchmarks.networks.in_space import Slabs
from benchmarks.networks.recall import matched_by_heatmap, matched_by_template
from testbed.detection import BRAINS, ONE_OF_EACH_STAIN
from testbed.networks.by_brain import (
    COMBINED,
    DETECTOR,
    FEATURES_ALONE,
    JUDGE,
    TOGETHER,
    Brains,
    Trained,
    mean_f1,
)
from testbed.networks.trained import Prepared, prepare

SEEDS = (0, 1, 2)
FOLDS = {"microglia": 4, "c-Fos": 3}
OF_BRAINS = {"microglia": 0.93, "c-Fos": 0.64}
"""The mean F1 of all together."""
KINDS = {"microglia 6003": ("patches",), "c-Fos 753": ("patches", "heatmap")}
IN_SPACE = {
    "c-Fos 753": {
        "patches alone": {"F1": 0.67, "ROC AUC": 0.90},
        "trees, patches": {"F1": 0.68},
        "trees, heatmap": {"F1": 0.69},
        "patches alone, cells and places at random": {
            "F1": 0.85,
            "accuracy": 0.97,
            "ROC AUC": 0.98,
            "PR AUC": 0.90,
        },
    },
    "microglia 6003": {"patches alone": {"F1": 0.91}, "trees, patches": {"F1": 0.93}},
}


def run() -> list[Figure]:
    with TemporaryDirectory() as folder:
        return measure(Path(folder), SEEDS, tuple(FOLDS))


def measure(folder: Path, seeds: Sequence[int], stains: Sequence[str]) -> list[Figure]:
    """Figures of stains; models lie in the folder."""
    figures = []
    for stain in stains:
        absent = [str(tissue.path) for tissue in BRAINS[stain] if not tissue.path.exists()]
        if absent:
            print(f"networks: {', '.join(absent)} is not here; nothing of {stain} measured.")
            continue
        prepared = [prepare(tissue, folder) for tissue in BRAINS[stain]]
        figures += _by_brain(stain, prepared, seeds, folder)
        figures += [
            figure
            for volume in prepared
            if volume.tissue in ONE_OF_EACH_STAIN
            for figure in _in_space(volume, seeds, folder)
        ]
    return figures


def _by_brain(stain: str, prepared: Sequence[Prepared], seeds: Sequence[int], folder: Path) -> list[Figure]:
    brains = Brains(prepared, FOLDS[stain])
    trained = brains.train(seeds, folder)
    own = time.process_time()
    judged = [brains.judged(trained, seed) for seed in seeds]
    own = time.process_time() - own
    scored: Scored = {way: [one[way] for one in judged] for way in judged[0]}
    title = f"{stain}, {brains.folds} folds by brain, all candidates (or peaks) against all cells"
    show(table(title, scored, brains.names, published=stain == "microglia"))
    figures = []
    for way in (FEATURES_ALONE, DETECTOR, JUDGE, *(way for way in COMBINED if way != FEATURES_ALONE)):
        f1 = [mean_f1(one) for one in scored[way]]
        target = OF_BRAINS[stain] if way == TOGETHER else None
        figures.append(
            Figure(f"{stain}, {way}, mean of brains: {spread(f1)}", _mean(f1), "F1", target=target)
        )
    seconds = sum(one.seconds for one in trained.values())
    print(f"{stain}: {len(trained)} trainings, {seconds:.0f} CPU seconds, and {own:.0f} of combinations")
    return [*figures, *_recall(stain, brains, trained, seeds)]


def _recall(stain: str, brains: Brains, trained: Trained, seeds: Sequence[int]) -> list[Figure]:
    """The cells that are found at all, of those of all brains."""
    cells = sum(len(brain.found.truth) for brain in brains.brains)
    candidates = sum(len(brain.found.places) for brain in brains.brains)
    counted = np.zeros((len(seeds), 3))
    by_template = among = 0
    for number, brain in enumerate(brains.brains):
        fold = number % brains.folds
        others = [other for n, other in enumerate(brains.brains) if n % brains.folds != fold]
        by_template += matched_by_template(brain, others)
        among += int(brain.found.is_cell.sum())
        for row, seed in enumerate(seeds):
            found = matched_by_heatmap(brain, trained["heatmap", seed, (fold,)].cells[brain.name])
            counted[row] += found
    best, peaks, count = *counted[:, :2].T / cells, counted[:, 2].mean()
    template = (round(by_template / cells, 3), "template matching, as many")
    return [
        Figure(f"{stain}, among {candidates} candidates", round(among / cells, 3), "recall", *template),
        Figure(
            f"{stain}, among at most as many peaks of the heatmap in each brain: {spread(best)}",
            _mean(best),
            "recall",
            *template,
        ),
        Figure(
            f"{stain}, among all {count:.0f} peaks of the heatmap: {spread(peaks)}",
            _mean(peaks),
            "recall",
        ),
    ]


def _in_space(volume: Prepared, seeds: Sequence[int], folder: Path) -> list[Figure]:
    name, slabs = volume.tissue.name, Slabs.of(volume)
    trained = slabs.train(KINDS[name], seeds, folder)
    judged = [slabs.judged(trained, seed) for seed in seeds]
    scored: Scored = {way: [{name: one[way]} for one in judged] for way in judged[0]}
    show(table(f"{name}, slabs of space", scored, [[name]]))
    seconds = sum(one.seconds for tested in trained.values() for one in tested)
    count = sum(len(tested) for tested in trained.values())
    print(f"{name}: {count} trainings, {seconds:.0f} CPU seconds")
    figures = []
    for way, targets in IN_SPACE[name].items():
        for score, target in targets.items():
            values = [one[way].values[score] for one in judged]
            what = f"{name} in slabs, {way}: {spread(values)}"
            figures.append(Figure(what, _mean(values), score, target=target))
    return figures


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 3)
