"""What comparisons share: peers in environments of their own, the real labels, and running a job on Ray.

igneous-pipeline is GPL-3: it is installed for the comparison only, and nothing here imports it.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import crackle
import numpy as np
from cloudvolume import CloudVolume

from chunkflow.engine.planning.job import Job
from chunkflow.jobs.planned import open_plan
from cluster.workers.connection import start_here
from cluster.workers.executor import RayExecutor
from testbed.timed import run_together

ROOT = Path(__file__).parents[2]
LABELS = ROOT.parent / "shared" / "data" / "connectomics_512.npy.ckl.gz"
VOXEL_SIZE = (16, 16, 40)
IGNEOUS = "igneous-pipeline==4.37.0"
CELLFINDER = "cellfinder==1.10.0 torch==2.13.0"
WORKERS = 2


def peer_python(requirement: str, folder: Path = ROOT / "bench") -> Path:
    """The interpreter of an environment that has a peer; made in `folder` where it is not there yet."""
    environment = folder / f"{requirement.partition('=')[0]}-env"
    python = environment / "bin" / "python"
    if not (environment / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *requirement.split()], check=True)
        (environment / "complete").touch()
    return python


def igneous_seconds(what: str, layer: Path) -> float:
    """How long igneous takes, without starting its interpreter and importing."""
    script = Path(__file__).with_name("igneous_run.py")
    command = [str(peer_python(IGNEOUS)), str(script), what, f"file://{layer}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


@contextmanager
def real_labels() -> Iterator[tuple[Path, np.ndarray] | None]:
    """A folder with the connectomics labels as a layer, and them as an array; None where they are absent."""
    if not LABELS.exists():
        yield None
        return
    array = np.asfortranarray(crackle.decompress(gzip.decompress(LABELS.read_bytes())))
    with TemporaryDirectory(prefix="chunkflow-bench-") as place:
        store(array, Path(place) / "labels")
        yield Path(place), array


def store(array: np.ndarray, layer: Path) -> None:
    CloudVolume.from_numpy(
        array,
        f"file://{layer}",
        resolution=VOXEL_SIZE,
        chunk_size=(64, 64, 64),
        layer_type="segmentation",
        compress=False,
        progress=False,
    )


def seconds_on_ray(folder: Path, layers: dict[str, str], tasks: list[Any], chunk: int = 256) -> float:
    """How long a job takes on two workers, from when both are up: igneous's, too, are not timed while
    they start."""
    document = {
        "job": "bench",
        "work": str(folder / "work"),
        "chunk": [chunk] * 3,
        "layers": layers,
        "tasks": tasks,
    }
    plan = open_plan(Job.from_document(document, folder))
    start_here(WORKERS)
    return run_together(plan, RayExecutor(plan), WORKERS)
