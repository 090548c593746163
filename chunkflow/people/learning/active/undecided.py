"""Objects that may be looked at next: they come a piece at a time, and only the best are kept.

Random numbers follow from the seed and the id of an object alone, so that the same objects are drawn however
the table is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chunkflow.people.learning.features import Floats

Ids = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
_MIXERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_STEP = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Undecided:
    """Objects that nobody has decided on yet."""

    ids: Ids
    features: Floats
    """A row an object, a column a feature; all are numbers."""
    probabilities: Floats
    """A column a class; no column where there is no model yet."""

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Undecided:
        return Undecided(self.ids[rows], self.features[rows], self.probabilities[rows])

    @classmethod
    def joined(cls, parts: Sequence[Undecided]) -> Undecided:
        """All of some parts, in their order."""
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )


def random_numbers(ids: Ids, seed: int) -> Floats:
    """A number from 0 to 1 for each id, as if drawn at random; the same for the same seed."""
    mixed = ids ^ np.uint64((seed + 1) * _STEP % 2**64)
    for shift, mixer in zip((30, 27), _MIXERS, strict=True):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * mixer
    mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**53


class Best:
    """The candidates with the highest scores of all that came; equal ones in a random order."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._parts: list[Undecided] = []
        self._scores: list[Floats] = []

    def add(self, candidates: Undecided, scores: Floats) -> None:
        """Take what is good enough of some candidates."""
        rows = self._first(candidates, scores)
        self._parts.append(candidates.part(rows))
        self._scores.append(scores[rows])
        if sum(map(len, self._parts)) > 4 * self._count:
            kept, found = self.found()
            self._parts, self._scores = [kept], [found]

    def found(self) -> tuple[Undecided, Floats]:
        """The best of all that came, and their scores, from the highest on."""
        candidates, scores = Undecided.joined(self._parts), np.concatenate(self._scores)
        rows = self._first(candidates, scores)
        return candidates.part(rows), scores[rows]

    def _first(self, candidates: Undecided, scores: Floats) -> Ints:
        """The rows of the best, in order."""
        rows = np.arange(len(scores))
        if len(scores) > self._count:  # sorting all would take longer than finding them
            least = np.partition(scores, len(scores) - self._count)[len(scores) - self._count]
            rows = np.flatnonzero(scores >= least)
        drawn = random_numbers(candidates.ids[rows], self._seed)
        order = np.lexsort((candidates.ids[rows], drawn, -scores[rows]))
        return rows[order[: self._count]]
