"""The light-sheet demo: tiles of a synthetic brain, through the whole pipeline, held against the truth.

1. A brain of two kinds of cells is made and imaged in 25 overlapping tiles; where they lie is kept apart.
2. The job of examples/light-sheet.yaml runs up to its object table.
3. A classifier is trained on some cells that are labelled as a person would, from the truth.
4. The job goes on to its end; tile places, cells found, classes and active cells are compared with the truth.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from chunkflow.data.tables import read_table
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.errors import BadInput
from chunkflow.jobs.means import Means
from chunkflow.jobs.run import Run
from chunkflow.kernels.scoring.matching import match_points, matched_pairs
from chunkflow.people.learning.train import train
from cli.demo.again import put_once, refuse_without
from cli.jobs.run import follow
from cli.people.train import show_trained

LABELLED = 1000
"""Cells that are labelled, but at most a third of all."""
FEWEST = 60
TOLERANCE_UM = 5.0
KINDS = ("neuron", "glia")
MARGIN_UM = 10.0
"""Cells nearer to the border of what was imaged are not counted: some of them are seen in part only."""
NOISE = 1.5
"""Of the microscope: deviations in roots of the grey value."""
OVERLAP = (0.05, 0.10)
JITTER = (8, 8, 3)
Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What was imaged, in the stitched volume's own micrometres."""

    cells: pa.Table
    places: Points
    """Of the cells."""
    border: tuple[Points, Points]
    """What all tiles together show without gaps: the first and last place."""
    tiles: dict[tuple[int, int], Points]
    """The first voxel of each tile, by its row and column."""


def light_sheet_job(folder: Path) -> Job:
    """The job of the demo, whose file is put into the folder."""
    path = folder / "light-sheet.yaml"
    put_once(path, files("cli.demo").joinpath("light-sheet.yaml").read_text("utf-8"))
    return Job.from_file(path)


def run_light_sheet(
    job: Job, folder: Path, tile: tuple[int, int, int], seed: int, means: Means, console: Console
) -> tuple[Plan, list[Table]]:
    """Make the tiles, run the job, and compare: the plan that was run, and what was found."""
    model = folder / "neuron-glia.skops"
    refuse_without(model, job, "classify")
    console.print("Tiles: a synthetic brain, imaged in 5 x 5 overlapping tiles.", highlight=False)
    scan = Run.of(_scan(folder, tile, seed), means)
    follow(scan, console)
    truth = _truth(scan.plan, folder, tile)
    if not model.exists():  # else the part before it is done, and `classify` may have read it already
        console.print("The job, up to its object table.", highlight=False)
        follow(Run.of(job.until("measure"), means), console)
        labelled = _label(truth, folder / "labels.csv", seed)
        console.print(f"A classifier, from {labelled} labelled cells.", highlight=False)
        show_trained(train(folder / "work", folder / "labels.csv", model))
    console.print("The whole job.", highlight=False)
    run = Run.of(job, means)
    follow(run, console)
    return run.plan, [_stitched(run.plan, truth), _counted(run.plan, truth)]


def _scan(folder: Path, tile: tuple[int, int, int], seed: int) -> Job:
    """The job that makes the tiles: the brain is as large as the scan may become."""
    x, y, z = (
        n + 4 * round(n * (1 - OVERLAP[0])) + 2 * j + 2 if axis < 2 else n + 2 * j + 2
        for axis, (n, j) in enumerate(zip(tile, JITTER, strict=True))
    )
    made = {"dapi": "dapi", "cfos": "cfos", "cells": "cells"}
    imaged = {"images": ["dapi", "cfos"], "tiles": "tiles", "columns": 5, "rows": 5, "size": list(tile)}
    imaged |= {"noise": NOISE}
    document = {
        "job": "scan",
        "work": str(folder / "scan" / "work"),
        "layers": {
            "dapi": str(folder / "scan" / "dapi"),
            "cfos": str(folder / "scan" / "cfos"),
            "tiles": str(folder / "tiles"),
        },
        "tasks": [
            {"synthesize": {**made, "size": [x, y, z], "seed": seed, "noise": 0}},
            {"scan": {**imaged, "overlap": list(OVERLAP), "jitter": list(JITTER), "seed": seed}},
        ],
    }
    return Job.from_document(document, folder)


def _truth(scan: Plan, folder: Path, tile: tuple[int, int, int]) -> Truth:
    """The cells of the brain, counted from the first voxel that any tile shows."""
    with (folder / "tiles" / "truth.csv").open(encoding="utf-8") as file:
        tiles = {
            (int(row["row"]), int(row["column"])): np.array([float(row[axis]) for axis in "xyz"])
            for row in csv.DictReader(file)
        }
    info = scan.products["cells", 0].table
    cells, voxel_um = read_table(info, info.bounds), np.array(info.voxel_size) / 1000
    first = np.min(list(tiles.values()), axis=0)
    relative = {place: corner - first for place, corner in tiles.items()}
    low = np.array([_edge(relative, axis, 0).max() for axis in range(3)])
    high = np.array([_edge(relative, axis, -1).min() + tile[axis] for axis in range(3)])
    return Truth(cells, _places(cells) - first * voxel_um, (low * voxel_um, high * voxel_um), relative)


def _edge(tiles: dict[tuple[int, int], Points], axis: int, end: int) -> Points:
    """The corners, along an axis, of the tiles that lie at one end of it."""
    if axis == 2:
        return np.array([corner[2] for corner in tiles.values()])
    last = sorted({place[1 - axis] for place in tiles})[end]
    return np.array([corner[axis] for place, corner in tiles.items() if place[1 - axis] == last])


def _inside(truth: Truth, places: Points) -> npt.NDArray[np.bool_]:
    low, high = truth.border
    return np.asarray(((places >= low + MARGIN_UM) & (places < high - MARGIN_UM)).all(axis=1))


def _label(truth: Truth, path: Path, seed: int) -> int:
    """Some cells at random, with what they are, as a person would label them in the stitched volume; says how
    many."""
    seen = np.flatnonzero(_inside(truth, truth.places))
    count = min(LABELLED, len(seen) // 3)
    if count < FEWEST:
        raise BadInput(f"The tiles show only {len(seen)} cells: take larger ones (--size).")
    chosen = np.sort(np.random.default_rng(seed).choice(seen, count, replace=False))
    kinds = truth.cells["class"].to_pylist()
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["x_um", "y_um", "z_um", "class"])
    writer.writerows([*np.round(truth.places[n], 2).tolist(), kinds[n]] for n in chosen.tolist())
    put_once(path, file.getvalue())
    return count


def _stitched(plan: Plan, truth: Truth) -> Table:
    """How far the tiles lie from where they were imaged, after the whole grid is laid on the truth."""
    report = Path(plan.work.removeprefix("file://")) / "reports" / "stitch" / "places.csv"
    with report.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = np.array([[float(row[axis]) for axis in "xyz"] for row in rows])
    wanted = np.array([truth.tiles[int(row["row"]) - 1, int(row["column"]) - 1] for row in rows])
    off = np.abs(found - wanted)
    within = int((off <= 1.0).all(axis=1).sum())
    return _table(
        "Tiles against where they were imaged",
        ("tiles", "within one voxel", "farthest off, voxels"),
        [(str(len(rows)), str(within), f"{off.max():.1f}")],
    )


def _counted(plan: Plan, truth: Truth) -> Table:
    """Cells of each kind, found and there, and how many of them are what they are said to be."""
    info = plan.products["combined", 0].table
    found = read_table(info, info.bounds)
    places, kinds = _places(found), np.array(found["class"].to_pylist())
    active, true_kinds = np.array(found["cfos_positive"]), np.array(truth.cells["class"].to_pylist())
    true_active = np.array(truth.cells["active"]).astype(bool)
    mine, theirs = _inside(truth, places), _inside(truth, truth.places)
    groups: list[tuple[str, Any, Any]] = [("all nuclei", mine, theirs)]
    for kind in KINDS:
        groups.append((kind, mine & (kinds == kind), theirs & (true_kinds == kind)))
    groups += [(f"c-Fos positive {name}", own & active, true & true_active) for name, own, true in groups[1:]]
    rows = []
    for name, own, true in groups:
        score = match_points(places[own], truth.places[true], TOLERANCE_UM)
        kind = name.split()[-1]
        likely = float(score.found)
        if kind in KINDS:  # by what each object may be, whichever class it was given
            seen = mine & active if name != kind else mine
            likely = float(found[f"p_{kind}"].to_numpy()[seen].sum())
        off = likely / score.true - 1 if score.true else 0.0
        shown = f"{score.true:,}", f"{score.found:,}", f"{likely:,.0f}", f"{off:+.1%}", f"{score.f1:.3f}"
        rows.append((name, *shown))
    pairs = matched_pairs(places[mine], truth.places[theirs], TOLERANCE_UM)
    right = float((kinds[mine][pairs[:, 0]] == true_kinds[theirs][pairs[:, 1]]).mean())
    title = f"Cells found, against the truth; {right:.1%} are given their class"
    return _table(title, ("cells", "there", "found", "expected", "off by", "F1"), rows)


def _places(rows: pa.Table) -> Points:
    return np.stack([rows[axis].to_numpy().astype(np.float64) for axis in ("x_um", "y_um", "z_um")], axis=1)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number or len(rows) == 1 else "left")
    for row in rows:
        table.add_row(*row)
    return table
