"""A lab over a small job, whose objects people review."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chunkflow as cf
from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.accounts.roles import Role
from chunkflow.people.service.lab.serve import LabServing, serve

SIZE, DENSITY, DIAMETER_UM = (128, 128, 48), 60_000, 9.0
JOB, TABLE = "reviewed", "objects"


@dataclass(frozen=True)
class ReviewedLab:
    """A service that runs, and who asks it."""

    service: LabServing
    token: str
    database: str
    objects: list[str]
    """The ids of the objects."""

    @property
    def table(self) -> str:
        """The address of the review below that of the service."""
        return f"/api/review/{JOB}/{TABLE}"


@contextmanager
def reviewed_lab(processes: int) -> Iterator[ReviewedLab]:
    """A lab of so many processes that share a port, in a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="chunkflow-bench-"))
    try:
        objects, database = _run_job(folder), str(folder / "lab.sqlite")
        accounts = Accounts.open(database)
        token = accounts.add("bench", Role.OWN) or ""
        accounts.close()
        with serve(folder / JOB, port=0, database=database, processes=processes) as service:
            yield ReviewedLab(service, token, database, objects)
    finally:
        shutil.rmtree(folder)


def _run_job(folder: Path) -> list[str]:
    tasks: list[Mapping[str, Any]] = [
        {"synthesize": {"dapi": "dapi", "size": list(SIZE), "density": DENSITY}},
        {"segment": {"image": "dapi", "labels": "nuclei", "diameter": DIAMETER_UM}},
        {"measure": {"labels": "nuclei", "images": ["dapi"], "objects": TABLE}},
    ]
    layers = {name: str(folder / name) for name in ("dapi", "nuclei")}
    job = cf.Job(name=JOB, layers=layers, tasks=tasks, work=str(folder / JOB), storage=(32, 32, 16))
    work = job.run(workers=1)
    return [str(id) for id in work.table(TABLE).to_arrow()["id"].to_pylist()]
