"""The demos: synthetic tissue with known truth, through a whole job, and how well it was found."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from chunkflow.data.tables import read_table
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.jobs.means import Means
from chunkflow.jobs.run import Run
from chunkflow.kernels.scoring.matching import match_points
from chunkflow.people.service.local.reviewer import review as start_review
from chunkflow.people.service.local.viewer import start_server
from chunkflow.people.viewing.work_layers import layers_of_plan
from chunkflow.words import in_words
from cli.data.view import serve_until_interrupt
from cli.demo.again import done_before
from cli.demo.light_sheet import light_sheet_job, run_light_sheet
from cli.jobs.run import follow
from cli.options import Serial, WorkersOption

TOLERANCE_UM = 5.0
DIAMETER_UM = 9.0
BLOCK, TILE = (384, 384, 256), (192, 192, 64)
Which = Literal["nuclei", "light-sheet"]


def document(folder: Path, size: tuple[int, int, int], seed: int) -> dict[str, Any]:
    """The demo's job, as a person would write it."""
    layers = ("dapi", "cfos", "nuclei", "centres")
    return {
        "job": "demo",
        "work": str(folder / "work"),
        "chunk": [128, 128, 128],
        "layers": {name: str(folder / name) for name in layers},
        "tasks": [
            {
                "synthesize": {
                    "dapi": "dapi",
                    "cfos": "cfos",
                    "cells": "truth",
                    "size": list(size),
                    "seed": seed,
                }
            },
            {"segment": {"image": "dapi", "labels": "nuclei", "diameter": DIAMETER_UM}},
            {"measure": {"labels": "nuclei", "images": ["dapi", "cfos"], "objects": "objects"}},
            {"mesh": {"labels": "nuclei"}},
            {"downsample": {"layer": "dapi"}},
            {"downsample": {"layer": "cfos"}},
            {"downsample": {"layer": "nuclei"}},
            {"annotate": {"objects": "objects", "annotations": "centres"}},
        ],
    }


DemoFolder = Annotated[
    Path | None,
    typer.Argument(
        metavar="FOLDER",
        help="Where to put it all; it may be deleted afterwards.",
        show_default="demo, or light-sheet",
    ),
]
DemoSize = Annotated[
    tuple[int, int, int] | None,
    typer.Option(help="Voxels along x, y, z, or of a tile.", show_default="384 384 256, 192 192 64"),
]


def demo(
    which: Annotated[
        Which, typer.Argument(metavar="WHICH", help="nuclei, or light-sheet: from a microscope's tiles.")
    ] = "nuclei",
    folder: DemoFolder = None,
    size: DemoSize = None,
    seed: Annotated[int, typer.Option(help="Another seed, another tissue.")] = 1,
    workers: WorkersOption = 0,
    serial: Serial = False,
    view: Annotated[
        bool, typer.Option("--view", help="Serve the result in Neuroglancer until Ctrl-C.")
    ] = False,
    review: Annotated[
        bool, typer.Option("--review", help="Serve the review of its objects until Ctrl-C.")
    ] = False,
) -> None:
    """Make synthetic tissue, run a whole job on it, and compare what is found with the truth.

    `nuclei` finds, measures and meshes the nuclei of a block. `light-sheet` begins with 25 overlapping tiles
    of two channels: it stitches them, finds the nuclei, trains a classifier on some that are labelled, tells
    neurons from glia, counts those that are c-Fos positive, and shows all of it. A demo that was stopped goes
    on where it was when it is begun again in the same folder.

    Example: chunkflow demo light-sheet --view
    """
    console, begin = Console(), time.monotonic()
    means = Means(workers, "", serial)
    place = (folder or Path("demo" if which == "nuclei" else which)).resolve()
    place.mkdir(parents=True, exist_ok=True)
    if which == "light-sheet":
        job = light_sheet_job(place)
        done = done_before(job)
        plan, tables = run_light_sheet(job, place, size or TILE, seed, means, console)
    else:
        job = Job.from_document(document(place, size or BLOCK, seed), Path.cwd())
        done = done_before(job)
        run = Run.of(job, means)
        follow(run, console)
        plan, tables = run.plan, [_found(run.plan)]
    took = "All was done already" if done else f"All in {in_words(time.monotonic() - begin)}"
    _tell(plan, tables, took, console)
    if review:
        with start_review(plan.work) as page:
            console.print(f"{page}", highlight=False, soft_wrap=True)
            serve_until_interrupt(page, console, open_browser=False)
    else:
        _show(plan, view, console)


def _tell(plan: Plan, tables: Sequence[Table], took: str, console: Console) -> None:
    """Print what was found, how long it took, and where all of it is."""
    for table in tables:
        console.print(table)
    console.print(f"{took}. The outputs:", highlight=False)
    for product in plan.products.values():
        if product.mip == 0 and "." not in product.name and "/" not in product.name:
            console.print(f"  {product.name:<12} {product.info.url}", highlight=False, soft_wrap=True)


def _found(plan: Plan) -> Table:
    """What was found, beside what is there."""
    truth, found = (_points(plan, name) for name in ("truth", "objects"))
    score = match_points(found, truth, TOLERANCE_UM)
    table = Table(box=None, pad_edge=False, title="Found against the truth", title_justify="left")
    for name in ("cells", "found", "matched", "precision", "recall", "F1"):
        table.add_column(name, justify="right")
    table.add_row(
        f"{score.true:,}",
        f"{score.found:,}",
        f"{score.matched:,}",
        f"{score.precision:.3f}",
        f"{score.recall:.3f}",
        f"{score.f1:.3f}",
    )
    return table


def _points(plan: Plan, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    info = plan.products[name, 0].table
    rows = read_table(info, info.bounds)
    return np.stack([rows[axis].to_numpy().astype(np.float64) for axis in ("x_um", "y_um", "z_um")], axis=1)


def _show(plan: Plan, view: bool, console: Console) -> None:
    """The link, and where asked for the server behind it."""
    place = plan.work.removeprefix("file://")
    found = layers_of_plan(plan)
    with start_server(found.urls, 0, found.links) as server:
        if not view:
            console.print(
                f"Look at it in Neuroglancer: {sys.argv[0]} view {place} --port {server.port}\n"
                f"  which serves {server.url}",
                highlight=False,
                soft_wrap=True,
            )
            return
        console.print(f"Neuroglancer: {server.url}", highlight=False, soft_wrap=True)
        serve_until_interrupt(server, console, open_browser=False)
