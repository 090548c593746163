"""A job that smooths an image, on storage that fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import State
from chunkflow.engine.planning.job import Job
from tests.support.jobs import make_job, make_layer, run_job
from tests.support.same import all_made, assert_all_accounted, assert_same

OWN = "tests.support.own_tasks:"
ROOT = Path(__file__).parent.parent.parent
CHUNK = "32-64_0-32_0-32"


def smooth_job(folder: Path, compress: bool = False, **keys: object) -> Job:
    """Eight cells; each reads two voxels beyond itself."""
    image = np.random.default_rng(5).integers(1, 1000, (64, 64, 64)).astype(np.uint16)
    if not (folder / "image").exists():
        make_layer(folder / "image", image)
        if compress:
            compress_all(folder / "image" / "1000_1000_2000")
    layers = {"image": str(folder / "image"), "smooth": str(folder / "out" / "smooth")}
    tasks = [{OWN + "Smooth": {"image": "image", "smooth": "smooth"}}]
    return make_job(folder, layers, tasks, chunk=[32, 32, 32], storage=[32, 32, 32], **keys)


def compress_all(folder: Path) -> None:
    import gzip

    for file in list(folder.iterdir()):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


def state_of(job: Job) -> State:
    return Ledger.load(Folder(job.work)).state


def as_without_fault(job: Job, folder: Path) -> None:
    assert run_job(job) == "complete"
    assert_all_accounted(job)
    clean = smooth_job(folder / "clean")
    assert run_job(clean) == "complete"
    assert_same(all_made(job), all_made(clean), "after mending")
