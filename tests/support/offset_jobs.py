"""Jobs of the small tasks over an image that does not begin at voxel 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chunkflow.engine.planning.job import Job
from tests.support.jobs import make_job, make_layer

OWN = "tests.support.own_tasks:"
SIZE = (70, 64, 50)
OFFSET = (10, -7, 3)


def an_image(dtype: str = "uint16", size: tuple[int, ...] = SIZE) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 250, size).astype(dtype)


def job_of(folder: Path, tasks: list[Any], array: np.ndarray | None = None, **keys: Any) -> Job:
    make_layer(folder / "image", an_image() if array is None else array, offset=OFFSET)
    made = ("smooth", "labels", "copy", "bright", "inverse", "half")
    layers = {name: str(folder / name) for name in ("image", *made)} | keys.pop("layers", {})
    shape: dict[str, Any] = {"chunk": [32, 32, 32], "storage": [16, 16, 16]}
    return make_job(folder, layers, tasks, **(shape | keys))


SMOOTH = {OWN + "Smooth": {"image": "image", "smooth": "smooth", "asks": True}}
TILES = {OWN + "WholeTiles": {"image": "image", "labels": "labels"}}
COUNT = {OWN + "Count": {"labels": "labels", "objects": "objects"}}
