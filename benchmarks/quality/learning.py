"""How many labels learning needs where it chooses them itself, beside labels drawn at random; by simulation.

1. Synthetic brains with a class of a tenth, and with two equal classes; candidates of real volumes.
2. Twenty seeds each: what counts are the labels after which a share of the F1 of all labels is held for three
   rounds, their median. Batches have 20 objects, and the first one is drawn at random for both.
3. What the advice to stop gives up: the F1 at the round where the mean kappa of three models is 0.99, as a
   share of the best round, and the labels of both.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from benchmarks.figure import Figure
from chunkflow.people.learning.active.learn import UNTIL
from chunkflow.people.learning.active.simulation import KnownTruth, LearningCurve, Simulated, simulated
from chunkflow.people.learning.active.strategies import DEFAULT_STRATEGY
from testbed.detection import ONE_OF_EACH_STAIN
from testbed.people.known_truths import synthetic_truth, tissue_truth

SEEDS, BATCH = 20, 20
RANDOM = "random"
ROUNDS = {"a class of a tenth": 25, "two equal classes": 12, "c-Fos 753": 20, "microglia 6003": 8}
SHARES = {"c-Fos 753": 0.97}
"""Of the F1 of all labels; 0.95 else."""
BARS = {"a class of a tenth": 1 / 0.6, "two equal classes": 1 / 1.1, "c-Fos 753": 1 / 0.8}
"""How many times fewer labels than at random."""


def run() -> list[Figure]:
    truths: dict[str, KnownTruth] = {}
    with tempfile.TemporaryDirectory(prefix="chunkflow-bench-") as folder:
        for name, glia in (("a class of a tenth", 0.1), ("two equal classes", 0.5)):
            truths[name] = synthetic_truth(Path(folder) / str(glia), glia)
    for tissue in ONE_OF_EACH_STAIN:
        if tissue.path.exists():
            truths[tissue.name] = tissue_truth(tissue)
        else:
            print(f"learning: {tissue.path} is not here; nothing measured.")
    figures = []
    for name, known in truths.items():
        tried = simulated(known, (RANDOM, DEFAULT_STRATEGY), BATCH, ROUNDS[name], SEEDS)
        figures += _figures(name, tried)
    return figures


def _figures(name: str, tried: Simulated) -> list[Figure]:
    share = SHARES.get(name, 0.95)
    needed = [tried.labels_to_hold(strategy, share) for strategy in (DEFAULT_STRATEGY, RANDOM)]
    what = f"{name}: labels for {share:.0%} of the F1 of all"
    ours, theirs = (tried.last_f1(strategy) for strategy in (DEFAULT_STRATEGY, RANDOM))
    return [
        Figure(what, needed[0], "labels", needed[1], RANDOM, "lower", BARS.get(name)),
        Figure(f"{name}: F1 in the end, of that of all", ours, "", theirs, RANDOM, target=0.98),
        *_stopped(name, tried.of(DEFAULT_STRATEGY)),
    ]


def _stopped(name: str, curves: list[LearningCurve]) -> list[Figure]:
    """What the advice to stop gives up, of those curves that come to it."""
    ended = [(curve.settled(UNTIL), curve) for curve in curves]
    known = [(one, max(curve.rounds, key=lambda round: round.f1)) for one, curve in ended if one]
    if not known:
        return [Figure(f"{name}: came to the advice to stop", 0, f"of {len(curves)}")]
    spent = Figure(
        f"{name}: labels at the advice to stop ({len(known)} of {len(curves)} came to it)",
        float(median(one.labels for one, _ in known)),
        "labels",
        float(median(best.labels for _, best in known)),
        "best round",
        "lower",
    )
    f1 = Figure(
        f"{name}: F1 there",
        median(one.f1 for one, _ in known),
        "",
        median(best.f1 for _, best in known),
        "best round",
    )
    return [spent, f1]


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
