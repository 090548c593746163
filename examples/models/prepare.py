"""Published light-sheet volumes made into what the recipes beside this file learn from.

    python examples/models/prepare.py FOLDER       # FOLDER holds light_sheet_*.npz
    chunkflow train network examples/models/cells-heatmap.yaml --to cells-heatmap.safetensors

Each file has an `image` and a binary mask `truth`, axes x, y, z, of a part of a cleared mouse brain; they are
those of erturklab/delivr_cfos (MIT). An image becomes a layer, the middle of each connected component of the
mask a point, and what `segment` finds at a low threshold a candidate.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cloudvolume import CloudVolume
from scipy import ndimage

import chunkflow as cf
from chunkflow.engine.run.events import Decided
from tasks import Measure, Segment

TO = Path(__file__).parent.parent / "data" / "models"
PREFIX = "light_sheet_"
VOXEL_SIZE = (1620, 1620, 6000)
"""Nanometres."""
DIAMETER = 14
"""Of a cell for `segment`, micrometres."""
LOW = 0.3
"""Candidates are found at this share of the automatic threshold."""


def prepare(folder: Path, to: Path = TO) -> list[str]:
    """Write a layer, points and candidates for each volume in a folder; returns their names."""
    files = sorted(folder.glob(f"{PREFIX}*.npz"))
    names = [file.stem.removeprefix(PREFIX) for file in files]
    to.mkdir(parents=True, exist_ok=True)
    for name, file in zip(names, files, strict=True):
        with np.load(file) as volume:
            write_image(to / name, volume["image"])
            write_points(to / f"{name}.csv", middles(volume["truth"] > 0))
        write_candidates(to / name, to / f"{name}.candidates.csv")
    return names


def middles(mask: np.ndarray) -> np.ndarray:
    """The centres of the components of a mask, in voxels; the centre of voxel i is i + 0.5."""
    components, count = ndimage.label(mask, np.ones((3, 3, 3)))
    return np.array(ndimage.center_of_mass(mask, components, range(1, count + 1))).reshape(-1, 3) + 0.5


def write_image(to: Path, image: np.ndarray) -> None:
    CloudVolume.from_numpy(
        image,
        f"file://{to.absolute()}",
        resolution=VOXEL_SIZE,
        chunk_size=(64, 64, 64),
        layer_type="image",
        progress=False,
    )


def write_points(to: Path, points: np.ndarray) -> None:
    rows = [",".join(f"{place:.2f}" for place in point) for point in points]
    to.write_text("\n".join(["x,y,z", *rows]) + "\n")


def write_candidates(image: Path, to: Path) -> None:
    """Find what may be a cell: first the automatic threshold, then all above a part of it."""
    thresholds: list[float] = []

    def heard(event: object) -> None:
        if isinstance(event, Decided) and "threshold" in event.values:
            thresholds.append(event.values["threshold"])

    with tempfile.TemporaryDirectory() as folder:
        segment_at("auto", image, Path(folder) / "auto", heard)
        work = segment_at(LOW * thresholds[0], image, Path(folder) / "low", heard)
        cf.export(work.table("objects"), to, columns=["x", "y", "z"], overwrite=True)


def segment_at(threshold: float | str, image: Path, folder: Path, heard: Callable[[object], None]) -> cf.Work:
    """The job that segments and measures an image."""
    return cf.Job(
        name="candidates",
        work=folder,
        layers={"image": image, "cells": folder.with_suffix(".cells")},
        tasks=[
            Segment(image="image", labels="cells", diameter=DIAMETER, threshold=threshold),
            Measure(labels="cells", objects="objects"),
        ],
    ).run(serial=True, listeners=[heard])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give the folder of the light_sheet_*.npz files.")
    written = prepare(Path(sys.argv[1]))
    print(f"{len(written)} volumes are in {TO}: {', '.join(written)}")
