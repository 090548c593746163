"""Tables to annotate, cut in any way, and what a layer made of them holds."""

from __future__ import annotations

import io
import itertools
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from neuroglancer.read_precomputed_annotations import AnnotationReader

from chunkflow.data.info import TableInfo
from chunkflow.engine.run.events import CellFailed, Event
from chunkflow.geometry import Box, Grid, Vec
from chunkflow.kernels.precomputed.crossings import AnnotationKind
from chunkflow.kernels.precomputed.morton import id_voxels, voxel_ids
from tests.support.jobs import make_job, run_job

VOLUME = Box.of_size((150, 130, 70), (7, -20, 11))
VOXEL_SIZE = (1000.0, 1000.0, 2000.0)
Six = tuple[float, ...]


def make_rows(count: int, seed: int = 0, apart: float = 3.0, volume: Box = VOLUME) -> pa.Table:
    """Objects named by one of their voxels, their centroids about `apart` voxels from it."""
    random = np.random.default_rng(seed)
    codes = random.choice(volume.voxels, count, replace=False)
    named = np.stack(np.unravel_index(codes, volume.size), 1)
    first = np.array(volume.start)
    last = np.array(volume.stop) - 0.5
    places = np.clip(named + first + 0.5 + random.normal(0, apart, named.shape), first + 0.5, last)
    columns: dict[str, Any] = {"id": voxel_ids(named, volume.size)}
    columns |= dict(zip("xyz", places.T, strict=True))
    columns["volume"] = random.integers(1, 2**32 - 1, count, dtype=np.uint32)
    columns["volume_um3"] = random.random(count).astype(np.float32)
    columns["diameter_um"] = random.random(count)
    columns["dapi_mean"] = np.where(random.random(count) < 0.1, np.nan, random.random(count)).astype(
        np.float32
    )
    columns["Kind-of"] = random.integers(-3, 3, count, dtype=np.int8)
    columns["note"] = ["a"] * count
    return pa.table(columns).sort_by("id")


def write_table(
    folder: Path, rows: pa.Table, cell: Vec | None, volume: Box = VOLUME, part: Box | None = None
) -> str:
    """A table on disk, filed by the voxels that ids name, or in one file; of a part of the volume, or all."""
    info = TableInfo(
        url=f"file://{folder}",
        bounds=part or volume,
        volume=volume,
        voxel_size=VOXEL_SIZE,
        labels="file:///labels",
        connected=cell is not None,
        cell=cell,
    )
    folder.mkdir(parents=True)
    (folder / "info").write_text(json.dumps(info.document()))
    grid = info.grid
    if cell is None:
        which = np.zeros(len(rows), np.int64)
    else:
        which = _files_of(grid, id_voxels(rows["id"].to_numpy(), volume.size))
    for index in range(len(grid)):
        buffer = io.BytesIO()
        pq.write_table(rows.filter(pa.array(which == index)), buffer)
        (folder / f"{index:06d}.parquet").write_bytes(buffer.getvalue())
    return str(folder)


def _files_of(grid: Grid, voxels: np.ndarray) -> np.ndarray:
    i, j, k = (voxels // np.array(grid.cell) - np.array(grid.first)).T
    return np.asarray(i + grid.shape[0] * (j + grid.shape[1] * k))


def layer_content(folder: Path) -> dict[str, Any]:
    """Every annotation by cell, by id and by segment, as neuroglancer's own reader finds them."""
    reader = AnnotationReader(f"file://{folder}")
    cells: dict[tuple[int, ...], list[tuple[Any, ...]]] = {}
    for level, index in enumerate(reader.spatial):
        for place in itertools.product(*map(range, index.metadata["grid_shape"])):
            found = [plain(a) for a in index[place]] if place in index else []
            if found:
                cells[level, *place] = found
    ids = [int(a[0]) for found in cells.values() for a in found]
    by_id = {n: (plain(reader.by_id[n]), [int(s) for s in reader.by_id[n].segments[0]]) for n in ids}
    segments = {n: [plain(a) for a in reader.relationships["segment"][n]] for n in ids}
    return {"cells": cells, "by_id": by_id, "segments": segments}


def plain(annotation: Any) -> tuple[Any, ...]:
    """An annotation as a value; NaN equals NaN."""
    numbers = [repr(np.asarray(value).item()) for value in annotation.props]
    return (annotation.id, tuple(float(v) for v in annotation.point), *numbers)


def nearest(kind: AnnotationKind, place: Six, low: tuple[Fraction, ...], high: tuple[Fraction, ...]) -> bool:
    """Whether the annotation shares a place with a cell that has all its faces."""
    a, b = [Fraction(n) for n in place[:3]], [Fraction(n) for n in place[3:]]
    if kind == "ellipsoid":
        total = Fraction(0)
        for centre, radius, first, last in zip(a, b, low, high, strict=True):
            gap = max(first - centre, centre - last, Fraction(0))
            if gap and not radius:
                return False
            total += (gap / radius) ** 2 if gap else 0
        return total <= 1
    if kind == "line":
        begin, end = Fraction(0), Fraction(1)
        for p, q, first, last in zip(a, b, low, high, strict=True):
            if p == q:
                if not first <= p <= last:
                    return False
                continue
            ends = sorted([(first - p) / (q - p), (last - p) / (q - p)])
            begin, end = max(begin, ends[0]), min(end, ends[1])
        return begin <= end
    ends = [(min(p, q), max(p, q)) for p, q in zip(a, b, strict=True)]
    return all(
        one <= last and first <= other for (one, other), first, last in zip(ends, low, high, strict=True)
    )


def annotate(
    folder: Path, rows: pa.Table, cell: Vec | None = None, box: Box | None = None, **parameters: Any
) -> Path:
    """The layer that a job makes of these rows."""
    table = write_table(folder / "table", rows, cell)
    task = {"annotate": {"objects": "objects", "annotations": "cells", **parameters}}
    job = make_job(folder, {"objects": table, "cells": str(folder / "cells")}, [task], chunk=[64, 64, 64])
    failures: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, CellFailed):
            failures.append(event.answer.traceback)

    assert run_job(job, box, listeners=[listen]) == "complete", failures[0]
    return folder / "cells"
