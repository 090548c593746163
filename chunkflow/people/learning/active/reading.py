"""The rows of a table as a learner needs them: features of labelled objects, of a sample, of all others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from chunkflow.data.info import TableInfo
from chunkflow.data.tables import table_pieces
from chunkflow.people.learning.active.undecided import Best, Ids, Undecided, random_numbers
from chunkflow.people.learning.features import Floats, feature_rows
from chunkflow.people.learning.scores import Examples

SAMPLE = 2000
"""Objects, drawn at random once for all rounds, on which models are compared."""
THREADS = 2
"""That score pieces side by side: more would take the memory and hardly be quicker."""


@dataclass(frozen=True)
class LabelledObjects:
    """Objects that people have decided on, and how many of them cannot be learnt from."""

    ids: Ids
    examples: Examples
    lacking: int
    """Decided objects that lack a feature."""
    missing: int
    """Decided objects that the table does not have."""


def read_labelled(
    info: TableInfo, features: list[str], classes: Mapping[int, str], seed: int
) -> tuple[LabelledObjects, Undecided]:
    """The labelled objects, by rising id, and a sample of all, which is the same for the same seed."""
    wanted = np.array(sorted(classes), np.uint64)
    sample = Best(SAMPLE, seed)
    ids, rows = [np.zeros(0, np.uint64)], [np.zeros((0, len(features)))]
    for piece in _pieces(info, features):
        own, values = piece
        whole = np.isfinite(values).all(axis=1)
        part = Undecided(own[whole], values[whole], np.zeros((int(whole.sum()), 0)))
        sample.add(part, random_numbers(part.ids, seed))
        labelled = np.isin(own, wanted)
        ids.append(own[labelled])
        rows.append(values[labelled])
    found, values = np.concatenate(ids), np.concatenate(rows)
    order = np.argsort(found, kind="stable")
    found, values = found[order], values[order]
    whole = np.isfinite(values).all(axis=1)
    said = np.array([classes[id] for id in found[whole].tolist()], dtype=str)
    names, numbers = np.unique(said, return_inverse=True)
    examples = Examples(values[whole], numbers.astype(np.int64), tuple(map(str, names)))
    lacking = int((~whole).sum())
    return LabelledObjects(found[whole], examples, lacking, len(wanted) - len(found)), sample.found()[0]


def undecided_pieces(
    info: TableInfo,
    features: list[str],
    closed: Ids,
    judge: Callable[[Floats], Floats],
) -> Iterator[Undecided]:
    """All objects but those that are decided or deleted, with their probabilities, a piece at a time."""

    def judged(piece: tuple[Ids, Floats]) -> Undecided:
        ids, values = piece
        left = np.isfinite(values).all(axis=1) & ~np.isin(ids, closed)
        return Undecided(ids[left], values[left], judge(values[left]))

    pieces = _pieces(info, features)
    with ThreadPoolExecutor(THREADS) as pool:
        while ahead := list(islice(pieces, THREADS)):
            yield from pool.map(judged, ahead)


def _pieces(info: TableInfo, features: list[str]) -> Iterator[tuple[Ids, Floats]]:
    for rows in table_pieces(info, info.bounds, ["id", *features]):
        yield rows["id"].cast(pa.uint64()).to_numpy(), feature_rows(rows, features)
