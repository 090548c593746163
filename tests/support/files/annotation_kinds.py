"""Rows of every kind of annotation, their layers, and what Neuroglancer's reader finds in them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from neuroglancer.read_precomputed_annotations import AnnotationReader

from chunkflow.geometry import Box
from chunkflow.kernels.precomputed import annotations as layers
from chunkflow.kernels.precomputed.crossings import AnnotationKind
from chunkflow.kernels.precomputed.morton import voxel_ids
from tests.support.files.annotation_layers import nearest, write_table
from tests.support.jobs import make_job, run_job

SPACE = Box.of_size((40, 24, 20), (5, -8, 3))
KINDS: tuple[AnnotationKind, ...] = ("point", "line", "box", "ellipsoid")
COLOURS = {"red": (255, 0, 0, 255), "#00ff80": (0, 255, 128, 255), "#0000ff80": (0, 0, 255, 128)}


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """A table with the columns that each kind is told by; ids name voxels, not those where objects lie."""
    first = np.array(SPACE.start)
    names = np.random.default_rng(len(rows)).choice(SPACE.voxels, len(rows), replace=False)
    voxels = np.stack(np.unravel_index(names, SPACE.size), 1)
    one, other = (np.array([row[end] for row in rows]).reshape(-1, 3) + first for end in ("one", "other"))
    low, high = (
        np.clip(np.floor(f(one, other)), first, np.array(SPACE.stop) - 1) for f in (np.minimum, np.maximum)
    )
    columns: dict[str, Any] = {"id": voxel_ids(voxels, SPACE.size)}
    for n, axis in enumerate("xyz"):
        columns |= {axis: one[:, n], f"{axis}2": other[:, n]}
        columns |= {f"{axis}_min": low[:, n].astype(np.int64), f"{axis}_max": high[:, n].astype(np.int64)}
        columns |= {f"r_{axis}": np.array([row["radii"][n] for row in rows], np.float64)}
    for name in ("class", "color"):
        columns[name] = pa.array([row[name] for row in rows], pa.string())
    columns["class"] = columns["class"].dictionary_encode()
    columns["live"] = pa.array([row["live"] for row in rows], pa.bool_())
    columns["size"] = pa.array([row["size"] for row in rows], pa.int16())
    columns["nuclei"] = pa.array([row["nuclei"] for row in rows], pa.list_(pa.uint64()))
    return pa.table(columns).sort_by("id")


def write_layer(folder: Path, rows: pa.Table, **parameters: Any) -> Path:
    cell = parameters.pop("cell", (16, 16, 16))
    table = write_table(folder / "table", rows, cell, SPACE)
    task = {"annotate": {"objects": "objects", "annotations": "cells", **parameters}}
    job = make_job(folder, {"objects": table, "cells": str(folder / "cells")}, [task], chunk=[64] * 3)
    assert run_job(job) == "complete"
    return folder / "cells"


def place_of(kind: AnnotationKind, row: dict[str, Any]) -> list[float]:
    """Where an annotation of this row must lie."""
    if kind == "box":
        return [row[f"{axis}_min"] for axis in "xyz"] + [row[f"{axis}_max"] + 1 for axis in "xyz"]
    second = {"point": [], "line": ["x2", "y2", "z2"], "ellipsoid": ["r_x", "r_y", "r_z"]}[kind]
    return [row[name] for name in ["x", "y", "z", *second]]


def told(annotation: Any) -> list[float]:
    """Where an annotation lies, as neuroglancer's reader has it."""
    ends = ("point",), ("point_a", "point_b"), ("center", "radii")
    names = next(names for names in ends if hasattr(annotation, names[0]))
    return [float(n) for name in names for n in getattr(annotation, name)]


def shown_of(annotation: Any, info: dict[str, Any]) -> dict[str, Any]:
    """The properties, named values by their names."""
    values = {}
    for entry, value in zip(info["properties"], annotation.props, strict=True):
        plain = np.asarray(value).tolist()
        values[entry["id"]] = entry["enum_labels"][plain] if "enum_labels" in entry else plain
    return values


def check_cells(reader: AnnotationReader, table: pa.Table, kind: AnnotationKind) -> None:
    """Each annotation lies in one level, and there in every cell that it meets, and in no other."""
    by_id = {row["id"]: place_of(kind, row) for row in table.to_pylist()}
    level_of: dict[int, int] = {}
    for level, index in enumerate(reader.spatial):
        size, shape = index.metadata["chunk_size"], index.metadata["grid_shape"]
        listed: dict[int, set[tuple[int, ...]]] = {}
        for cell in itertools.product(*map(range, shape)):
            for annotation in listed_in(index, cell):
                assert told(annotation) == by_id[int(annotation.id)]
                listed.setdefault(int(annotation.id), set()).add(cell)
        for number, cells in listed.items():
            assert level_of.setdefault(number, level) == level
            assert len(cells) <= layers.MOST_CELLS
            for cell in itertools.product(*map(range, shape)):
                assert (cell in cells) == meets(kind, by_id[number], cell, size, shape)
    assert level_of.keys() == by_id.keys()


def meets(
    kind: AnnotationKind, place: list[float], cell: tuple[int, ...], size: list[int], shape: list[int]
) -> bool:
    """Whether an annotation shares a place with a cell, which has its lower faces alone, but at the end."""
    origin = [*SPACE.start, *((0, 0, 0) if kind == "ellipsoid" else SPACE.start)]
    whole = [n - o for n, o in zip(place if len(place) == 6 else place * 2, origin, strict=True)]
    if kind == "point":
        whole = whole[:3] * 2
        kind = "box"
    first = tuple(Fraction(i * c) for i, c in zip(cell, size, strict=True))
    last = tuple(f + c for f, c in zip(first, size, strict=True))
    a, b = np.array(whole[:3]), np.array(whole[3:])
    low = a - b if kind == "ellipsoid" else np.minimum(a, b)
    if any(low[n] == last[n] and cell[n] + 1 < shape[n] for n in range(3)):
        return False
    return nearest(kind, tuple(whole), first, last)


def some_rows(count: int = 60) -> pa.Table:
    random = np.random.default_rng(2)
    rows = [
        {
            "one": random.integers(0, np.array(SPACE.size) + 1),
            "other": random.integers(0, np.array(SPACE.size) + 1),
            "radii": random.integers(0, 9, 3),
            "class": ["neuron", "glia", None][n % 3],
            "color": "red",
            "live": True,
            "size": n,
            "nuclei": [0, 7, 7] if n % 2 else [],
        }
        for n in range(count)
    ]
    return table_of(rows)


def all_of(index: Any) -> Iterator[Any]:
    for place in itertools.product(*map(range, index.metadata["grid_shape"])):
        yield from listed_in(index, place)


def listed_in(index: Any, cell: tuple[int, ...]) -> list[Any]:
    """The annotations of a cell; that of a sharded level may be missing where it has none."""
    return index[cell] if cell in index else []  # noqa: SIM401 - its `get` is another thing
