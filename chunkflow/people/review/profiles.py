"""Features of the objects of a table, class by class: what one object is compared with while it is reviewed.

1. Of each class up to MOST_OF_CLASS objects are drawn, the same ones each time; the table is read in pieces.
2. A feature is scored by how far the medians of two classes lie apart at most, in interquartile ranges: the
   mean of those of all classes.
3. The features of the highest scores are kept, without those that rank objects as another one does.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import rankdata

from chunkflow.data.tables import table_pieces
from chunkflow.people.review.objects import TableObjects

NO_FEATURE = re.compile(r"(.*_)?id|[xyz](_.*)?|cut|class|probability|p_.*")
"""Columns of numbers that measure nothing of an object: where it lies, and what a model said of it."""
MOST = 8
"""Features that are shown."""
MOST_OF_CLASS = 20_000
FEWEST_OF_CLASS = 5
"""A class with fewer objects has no percentiles worth the name."""
SAME_RANKS = 0.999
"""Features whose ranks are correlated so closely are copies of one another, maybe in other units."""
SEED = 1
UNITS = re.compile(r".*_(um|um2|um3|nm)")
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FeatureSpread:
    """The values of a feature in a class: from the 5th to the 95th percentile, and the median."""

    name: str
    """The class; empty for all objects."""
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class FeatureProfile:
    """A feature in all classes."""

    name: str
    spreads: tuple[FeatureSpread, ...]


class TableProfiles:
    """The profiles of the features of a table, which are made once, when they are first asked for."""

    def __init__(self, objects: TableObjects) -> None:
        self._objects = objects
        self._made: list[FeatureProfile] | None = None
        self._lock = threading.Lock()

    def made(self) -> list[FeatureProfile]:
        """The profiles; the first who asks waits until the table is read."""
        with self._lock:
            if self._made is None:
                self._made = feature_profiles(self._objects)
            return self._made

    def document(self) -> list[dict[str, Any]]:
        """The profiles as JSON has them."""
        return [asdict(profile) for profile in self.made()]


def feature_profiles(objects: TableObjects) -> list[FeatureProfile]:
    """The features that tell the classes of a table apart best, the best first.

    Where the table has no classes, or one alone, there is nothing to be told apart: its first features, of
    all objects together.
    """
    groups = _drawn(objects)
    if not groups:
        return []
    numbers = np.sort(np.concatenate([*groups.values()]))
    names, values = _read_features(objects, numbers)
    of_group = {name: values[np.searchsorted(numbers, group)] for name, group in groups.items()}
    spreads = [_spreads(at, of_group) for at in range(len(names))]
    scores = [_score(at, of_group) for at in range(len(names))]
    # of two copies the one that has a unit
    order = sorted(range(len(names)), key=lambda at: (-round(scores[at], 6), not UNITS.fullmatch(names[at])))
    shown = _without_copies([at for at in order if any(one.low < one.high for one in spreads[at])], values)
    return [FeatureProfile(names[at], spreads[at]) for at in shown]


def _drawn(objects: TableObjects) -> dict[str, Ints]:
    """Objects of each class, by their numbers; of all objects under no name where there are no classes."""
    random = np.random.default_rng(SEED)
    known = {name: np.flatnonzero(objects.of_class == at) for at, name in enumerate(objects.classes)}
    groups = {name: numbers for name, numbers in known.items() if len(numbers) >= FEWEST_OF_CLASS}
    if not groups and len(objects):
        groups = {"": np.arange(len(objects))}
    return {
        name: random.choice(numbers, MOST_OF_CLASS, replace=False)
        if len(numbers) > MOST_OF_CLASS
        else numbers
        for name, numbers in groups.items()
    }


def _read_features(objects: TableObjects, numbers: Ints) -> tuple[list[str], Floats]:
    """The names of the features, and a row for each of these objects, in the order of their numbers."""
    info = objects.info
    schema = next(table_pieces(info, info.grid.box(0))).schema
    names = [field.name for field in schema if _is_feature(field)]
    found = np.full((len(numbers), len(names)), np.nan)
    for piece in table_pieces(info, info.bounds, ["id", *names]):
        at = np.searchsorted(objects.ids, piece["id"].to_numpy().astype(np.uint64))
        to = np.searchsorted(numbers, at)
        there = np.flatnonzero((to < len(numbers)) & (numbers[np.minimum(to, len(numbers) - 1)] == at))
        rows = piece.take(pa.array(there))
        for column, name in enumerate(names):
            values = rows[name].cast(pa.float64()).combine_chunks()
            found[to[there], column] = values.to_numpy(zero_copy_only=False)
    return names, found


def _is_feature(field: pa.Field) -> bool:
    number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
    return number and not NO_FEATURE.fullmatch(field.name)


def _spreads(feature: int, of_group: dict[str, Floats]) -> tuple[FeatureSpread, ...]:
    """The spread of a feature in each class that has values of it."""
    found = []
    for name, values in of_group.items():
        known = _finite(values[:, feature])
        if len(known) >= min(FEWEST_OF_CLASS, len(values)):
            low, median, high = (float(value) for value in np.percentile(known, (5, 50, 95)))
            found.append(FeatureSpread(name, low, median, high))
    return tuple(found)


def _score(feature: int, of_group: dict[str, Floats]) -> float:
    """The largest distance of the medians of two classes, in the mean of the interquartile ranges of all."""
    known = [_finite(values[:, feature]) for values in of_group.values()]
    quartiles = np.array([np.percentile(values, (25, 50, 75)) for values in known if len(values)])
    if len(quartiles) < 2:
        return 0.0
    spread = float((quartiles[:, 2] - quartiles[:, 0]).mean())
    return float(np.ptp(quartiles[:, 1])) / spread if spread > 0 else 0.0


def _without_copies(order: Sequence[int], values: Floats) -> list[int]:
    """The first features, MOST at most, that no earlier one is a copy of."""
    shown: list[int] = []
    ranks: list[Floats] = []
    for feature in order:
        known = values[:, feature]
        of_feature = rankdata(np.where(np.isfinite(known), known, -np.inf))
        if any(_correlation(of_feature, other) >= SAME_RANKS for other in ranks):
            continue
        shown.append(feature)
        ranks.append(of_feature)
        if len(shown) == MOST:
            break
    return shown


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return abs(float(a @ b)) / size if size > 0 else 0.0


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]
