"""A job of four of the small tasks, and what its folders contain."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from chunkflow.engine.planning.job import Job
from tests.support.jobs import make_job, make_layer

OWN = "tests.support.own_tasks:"
OFFSET = (10, -7, 3)


def job_of(folder: Path, more: int = 4, size: int = 9, work: str = "work", **keys: Any) -> Job:
    if not (folder / "image").exists():
        image = np.random.default_rng(3).integers(0, 1000, (80, 64, 50)).astype(np.uint16)
        make_layer(folder / "image", image, offset=OFFSET)
    tasks = [
        {OWN + "Smooth": {"image": "image", "smooth": "smooth"}},
        {OWN + "WholeTiles": {"image": "smooth", "labels": "tiles", "size": [size, 13, 40]}},
        {OWN + "Count": {"labels": "tiles", "image": "smooth", "objects": "objects"}},
        {OWN + "Blocks": {"labels": "tiles", "meshes": "tiles/mesh"}},
    ]
    layers = {name: str(folder / name) for name in ("image", "smooth", "tiles")}
    shape = {"chunk": [32, 32, 32], "storage": [32, 32, 16]} | keys
    return make_job(folder, layers, tasks[:more], **shape).model_copy(
        update={"work": f"file://{folder}/{work}"}
    )


def contents(*folders: Path) -> dict[str, str]:
    """Every file with the hash of its bytes and the time it was changed."""
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest() + str(file.stat().st_mtime_ns)
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
