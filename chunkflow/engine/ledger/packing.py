"""Packing of indexes and digests of cells into few bytes of JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Packed = list[int | list[int]]


def pack_indexes(indexes: Iterable[int] | NDArray[np.integer[Any]]) -> Packed:
    """Sorted indexes with runs of consecutive ones as [start, stop]; an index given twice stays twice."""
    values = np.sort(np.asarray(list(indexes) if not isinstance(indexes, np.ndarray) else indexes, np.int64))
    if values.size == 0:
        return []
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 2) != 1)
    stops = np.append(starts[1:], values.size)
    return [
        int(values[a]) if b - a == 1 else [int(values[a]), int(values[b - 1]) + 1]
        for a, b in zip(starts, stops, strict=True)
    ]


def unpack_indexes(packed: Packed) -> NDArray[np.int64]:
    """The indexes that `pack_indexes` packed, sorted."""
    runs = [np.arange(*run) if isinstance(run, list) else np.array([run]) for run in packed]
    return np.concatenate(runs).astype(np.int64) if runs else np.empty(0, np.int64)


def pack_digests(indexes: Sequence[int], digests: Sequence[int]) -> str:
    """The digests of cells, in the order in which their indexes are packed; empty where there are none."""
    if not any(digests):
        return ""
    order = np.argsort(np.asarray(indexes, np.int64), kind="stable")
    return base64.b64encode(np.asarray(digests, "<u4")[order].tobytes()).decode()


def unpack_digests(packed: str) -> NDArray[np.uint32]:
    """The digests that `pack_digests` packed."""
    return np.frombuffer(base64.b64decode(packed), "<u4").astype(np.uint32)
