"""The comparison of two sets of objects: which belong together, and the scores that follow, with intervals.

Objects near each other tend to be right or wrong together, so intervals come from drawing blocks of space
anew; where all lies in too few blocks, from drawing objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.data.info import LayerInfo
from chunkflow.kernels.scoring.agreement import Overlaps
from chunkflow.kernels.scoring.matching import Points, Score, match_points
from chunkflow.kernels.scoring.scores import Curve, Interval, bootstrap_interval, closest_pairs
from chunkflow.kernels.scoring.scores import precision_recall as curve_of
from chunkflow.people.evaluation.sides import Side
from chunkflow.people.reports.pictures import BLUE, RED, YELLOW

SEED = 0
BLOCKS = 4
FEWEST_BLOCKS = 10
TOLERANCES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
LEAST_IOU = 0.5
IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
COLOURS = {"found": BLUE, "missed": YELLOW, "wrong": RED}
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """Objects found and true ones in one layer, and the pairs of them (indexes) that belong together."""

    layer: LayerInfo
    found: Side
    true: Side
    pairs: Ints
    tolerance: float = 0.0
    overlaps: Overlaps | None = None

    @property
    def score(self) -> Score:
        return Score(len(self.found.ids), len(self.true.ids), len(self.pairs))

    def um(self, side: Side) -> Points:
        return side.voxels * (np.array(self.layer.voxel_size) / 1000)

    def outcomes(self) -> pa.Table:
        """One row for each pair (at the place found), each true object missed, and each wrong one."""
        wrong = np.setdiff1d(np.arange(len(self.found.ids)), self.pairs[:, 0])
        missed = np.setdiff1d(np.arange(len(self.true.ids)), self.pairs[:, 1])
        places = [self.found.voxels[self.pairs[:, 0]], self.true.voxels[missed], self.found.voxels[wrong]]
        names = np.repeat(list(COLOURS), [len(part) for part in places])
        nothing: list[list[int]] = [[]]
        objects = [[i] for i in self.found.ids[self.pairs[:, 0]]] + nothing * len(missed)
        objects += [[i] for i in self.found.ids[wrong]]
        trues = [[i] for i in self.true.ids[self.pairs[:, 1]]] + [[i] for i in self.true.ids[missed]]
        voxels = np.concatenate(places)
        return pa.table(
            {
                "id": pa.array(np.arange(1, len(names) + 1), pa.uint64()),
                **{axis: voxels[:, i] for i, axis in enumerate("xyz")},
                "outcome": pa.array(names.tolist(), pa.string()),
                "color": pa.array([COLOURS[name] for name in names], pa.string()),
                "found": pa.array(objects, pa.list_(pa.uint64())),
                "true": pa.array(trues + nothing * len(wrong), pa.list_(pa.uint64())),
            }
        )


def compare_points(layer: LayerInfo, found: Side, true: Side, tolerance: float) -> Comparison:
    """Pair points one to one within a tolerance in micrometres."""
    size = np.array(layer.voxel_size) / 1000
    pairs = closest_pairs(found.voxels * size, true.voxels * size, tolerance)
    return Comparison(layer, found, true, pairs, tolerance)


@dataclass(frozen=True)
class Scores:
    """What is told of a comparison: single numbers, some with an interval, and curves."""

    values: dict[str, float]
    intervals: dict[str, Interval]
    drawn: str
    """What was drawn anew for the intervals."""
    over: dict[str, list[float]] = field(default_factory=dict)
    """F1 (and average precision of labels) over tolerances or IoU."""
    curve: Curve | None = None

    @classmethod
    def of(cls, comparison: Comparison) -> Scores:
        score = comparison.score
        intervals, drawn = _intervals(comparison)
        values = {"F1": score.f1, "precision": score.precision, "recall": score.recall}
        counts = {"found": score.found, "true": score.true, "matched": score.matched}
        if comparison.overlaps is not None:
            more, over = _of_labels(comparison, comparison.overlaps)
            return cls(counts | values | more, intervals, drawn, over)
        more, over, curve = _of_points(comparison)
        return cls(counts | values | more, intervals, drawn, over, curve)

    def document(self) -> dict[str, Any]:
        made: dict[str, Any] = {"scores": self.values, "over": self.over, "intervals_by_drawing": self.drawn}
        made["intervals"] = {name: [one.low, one.high] for name, one in self.intervals.items()}
        if self.curve is not None:
            for name in ("threshold", "precision", "recall", "f1"):
                made.setdefault("curve", {})[name] = getattr(self.curve, name).tolist()
        return made


def _of_points(comparison: Comparison) -> tuple[dict[str, float], dict[str, list[float]], Curve | None]:
    found, true = comparison.um(comparison.found), comparison.um(comparison.true)
    values: dict[str, float] = {}
    distances = np.linalg.norm(found[comparison.pairs[:, 0]] - true[comparison.pairs[:, 1]], axis=1)
    if len(distances):
        values["median distance of a pair, um"] = float(np.median(distances))
    tolerances = [comparison.tolerance * factor for factor in TOLERANCES]
    over = {"tolerance_um": tolerances, "F1": [match_points(found, true, one).f1 for one in tolerances]}
    if comparison.found.scores is None or not len(found):
        return values, over, None
    curve = curve_of(found, comparison.found.scores, true, comparison.tolerance)
    best = int(np.argmax(curve.f1))
    values |= {
        "average precision": curve.average_precision,
        f"best F1 over {comparison.found.score}": float(curve.f1[best]),
        f"least {comparison.found.score} for the best F1": float(curve.threshold[best]),
    }
    return values, over, curve


def _of_labels(comparison: Comparison, overlaps: Overlaps) -> tuple[dict[str, float], dict[str, list[float]]]:
    score = comparison.score
    matched = [len(overlaps.matches(least)[0]) for least in IOUS]
    over = {
        "IoU": list(IOUS),
        "F1": [Score(score.found, score.true, count).f1 for count in matched],
        "average_precision": [count / max(score.found + score.true - count, 1) for count in matched],
    }
    iou = overlaps.matches(LEAST_IOU)[2]
    split, merge = overlaps.variation_of_information()
    error, precision, recall = overlaps.adapted_rand()
    return {
        "average precision at IoU 0.5": over["average_precision"][0],
        "mean average precision, IoU 0.5 to 0.95": float(np.mean(over["average_precision"])),
        "mean IoU of matched objects": float(iou.mean()) if len(iou) else 0.0,
        "adapted Rand error": error,
        "adapted Rand precision": precision,
        "adapted Rand recall": recall,
        "variation of information, split, bits": split,
        "variation of information, merge, bits": merge,
    }, over


def _intervals(comparison: Comparison) -> tuple[dict[str, Interval], str]:
    """Of F1, precision and recall. An item is a pair, a missed or a wrong object, where it lies."""
    rows = comparison.outcomes()
    kinds = np.array(rows["outcome"].to_pylist(), dtype=str)
    places = np.stack([rows[axis].to_numpy() for axis in "xyz"], 1)
    blocks, count = _blocks(places)
    by_blocks = count >= FEWEST_BLOCKS
    groups = blocks if by_blocks else None
    hit, wrong, missed = (kinds == name for name in ("found", "wrong", "missed"))

    def share(of: npt.NDArray[Any]) -> Callable[[Ints], float]:
        def drawn_share(drawn: Ints) -> float:
            whole = of[drawn].sum()
            return float(hit[drawn].sum() / whole) if whole else float("nan")

        return drawn_share

    weights = {"F1": hit + (wrong | missed) / 2, "precision": hit | wrong, "recall": hit | missed}
    drawn = {name: bootstrap_interval(share(of), len(kinds), SEED, groups) for name, of in weights.items()}
    # Where nothing was found, precision is a share of nothing.
    intervals = {name: interval for name, interval in drawn.items() if np.isfinite(interval.low)}
    return intervals, f"{count} blocks of space" if by_blocks else f"{len(kinds)} objects"


def _blocks(places: Points) -> tuple[Ints, int]:
    """The block of each place, of those that cut the box around all, and how many blocks have any."""
    if not len(places):
        return np.zeros(0, np.int64), 0
    low, extent = places.min(axis=0), np.ptp(places, axis=0)
    cells = np.minimum((places - low) / np.where(extent > 0, extent, 1) * BLOCKS, BLOCKS - 1).astype(np.int64)
    numbers = cells @ np.array([1, BLOCKS, BLOCKS**2])
    return numbers, len(np.unique(numbers))
