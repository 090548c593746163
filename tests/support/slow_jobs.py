"""A job whose cells take their time, and how to run it in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from chunkflow.engine.planning.job import Job
from chunkflow.geometry import Vec
from tests.support.jobs import make_job, make_layer

OWN = "tests.support.own_tasks:"
SCRIPT = Path(__file__).with_name("job_process.py")
ROOT = SCRIPT.parent.parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}


def slow_job(folder: Path, pause: float = 0.0, heartbeat: float = 0.25, chunk: Vec = (32, 32, 32)) -> Job:
    """Cells that take their time, and what is counted in them."""
    (folder / "marks").mkdir(parents=True, exist_ok=True)
    if not (folder / "image").exists():
        image = np.random.default_rng(3).integers(0, 1000, (128, 64, 64)).astype(np.uint16)
        make_layer(folder / "image", image)
    slow = {"image": "image", "labels": "slow", "marks": str(folder / "marks"), "pause": pause}
    return make_job(
        folder,
        {name: str(folder / name) for name in ("image", "slow", "tiles")},
        [
            {OWN + "Faulty": slow},
            {OWN + "WholeTiles": {"image": "image", "labels": "tiles"}},
            {OWN + "Count": {"labels": "tiles", "image": "image", "objects": "objects"}},
            {OWN + "Blocks": {"labels": "tiles", "meshes": "tiles/mesh"}},
        ],
        chunk=list(chunk),
        storage=[32, 32, 16],
        heartbeat=heartbeat,
    )
