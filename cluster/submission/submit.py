"""Give a job to a Ray cluster and go: the cluster runs it, whatever becomes of this machine.

1. The job is checked here, as far as this machine sees its layers.
2. The cluster is asked what it has: Python and Ray must be the same, chunkflow goes along where it is not,
   and every path of the job that is here must be there.
3. The job (its settings applied, its paths whole) and the user's own modules are sent, and run there.
4. The work folder gets a note of it, so that no more than its name is needed to follow or stop it.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

import chunkflow
from chunkflow.data.encodings import CODECS
from chunkflow.data.folder import Folder
from chunkflow.engine.cost.prices import load_prices
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.opening import named_tasks, refuse_unfit
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.jobs.budget import refuse_no_sum
from chunkflow.jobs.notes import note
from chunkflow.jobs.planned import open_plan
from chunkflow.jobs.status import alive
from chunkflow.registry import builtin_tasks, task_type
from chunkflow.roles import Located
from chunkflow.words import plain
from cluster.submission.environment import There, look, refuse_other, what_goes_along
from cluster.submission.jobs import Jobs, folder_of
from cluster.submission.submitted import remember

TORCH = re.compile(rb"^\s*(?:import|from)\s+(?:torch|monai)\b", re.M)
MICROSCOPES = (".czi", ".nd2", ".lif")
PLAIN = (".npy", ".npz", ".zarr", ".n5", *MICROSCOPES)
"""Stacks that need nothing of the extra `formats`; a TIFF may, as it may be compressed."""
STACK_FIELDS = {"source", "tiles"}


@dataclass(frozen=True)
class Submitted:
    """A job that was given to a cluster."""

    address: str
    """The cluster's dashboard, without credentials."""
    id: str
    """The submission, as the cluster calls it."""
    work: str
    """The URL of the work folder."""
    host: str
    """The head of the cluster."""
    unseen: tuple[str, ...]
    """Paths that the cluster sees and this machine does not: with any, the job is checked when it runs."""
    installs: bool
    """Whether chunkflow went along, to be installed there first."""


def submit(
    job: Job,
    address: str,
    *,
    workers: int = 0,
    box: Box | None = None,
    restart: str | Sequence[str] = "",
    budget: float | None = None,
    prices: Path | None = None,
    agree: Callable[[str], bool] = lambda _: True,
) -> Submitted:
    """Give a job to a Ray cluster by the address of its dashboard.

    `workers` is their number, by default as many as fit the cluster; `box` a part of the volume in voxels of
    mip 0; `restart` a task, or several, cleared first with those after it, if `agree` says so of what that
    deletes; `budget` is dollars by the table `prices`.

        submitted = submit(job, "http://head:8265", workers=16)
        print(submitted.id, "runs in", submitted.work)
    """
    table = _money(budget, prices)
    jobs = Jobs(address)
    paths = local_paths(job)
    there = look(jobs, list(paths.values()))
    refuse_other(there)
    refuse_unseen(paths, there)
    unseen = unseen_here(paths, there)
    cleared = named_tasks(restart)
    deleted = f"{', '.join(cleared)} and what comes after it" if unseen else check(job, box, cleared)
    if cleared and not agree(deleted):
        raise BadInput("Nothing was deleted, and nothing was submitted.")
    own = {f"job/{name}": data for name, data in job.sources().items()}
    files, environment = what_goes_along(there, extras(job, own))
    files |= own | table | {"job/job.yaml": yaml.safe_dump(job.model_dump(mode="json")).encode()}
    work = job.work_for(box)
    known = {"chunkflow": chunkflow.__version__, "job": job.name, "work": work}
    with folder_of(files) as sent:
        words = entrypoint(workers, box, cleared, budget, list(table))
        submitted = jobs.submit(words, sent, environment, known)
    remember(jobs.address)
    note(work, jobs.address, submitted, job.modules.folder or Path.cwd())
    return Submitted(jobs.address, submitted, work, there.host, tuple(unseen), bool(environment))


def _money(budget: float | None, prices: Path | None) -> dict[str, bytes]:
    """The price table to be sent, if one was named."""
    refuse_no_sum(budget)
    if prices is None:
        return {}
    load_prices(prices)
    return {"job/prices.yaml": prices.read_bytes()}


def entrypoint(
    workers: int, box: Box | None, restart: Sequence[str], budget: float | None, tables: Sequence[str]
) -> str:
    """The command that the cluster runs.

    `job/` is a folder of its own, so that a module beside the job file is not taken for an installed one of
    the same name.
    """
    words = ["python", "-m", "cli.main", "run", "job/job.yaml", "--address", "auto"]
    words += ["--workers", str(workers)] if workers else []
    words += ["--box", str(box)] if box is not None else []
    words += ["--restart", ",".join(restart), "--yes"] if restart else []
    words += ["--budget", f"{budget:g}"] if budget is not None else []
    words += [word for table in tables for word in ("--prices", table)]
    return shlex.join(words)


def local_paths(job: Job) -> dict[str, str]:
    """Every path on a disk that the job names, by what it is there; of the work folder the folder it lies in,
    as the job makes it."""
    paths = {f"layer {name}": entry.url for name, entry in job.layers.items()}
    paths["the folder of the work folder"] = job.work.rpartition("/")[0]
    for entry in job.tasks:
        for name, field in task_type(entry.type, job.modules).model_fields.items():
            value = entry.parameters.get(name)
            marks = (mark for mark in field.metadata if isinstance(mark, Located))
            if isinstance(value, str) and any(mark.is_path(value) for mark in marks):
                paths[f"{entry.name}.{name}"] = f"file://{value.removeprefix('file://')}"
    return {what: plain(url) for what, url in paths.items() if url.startswith("file://")}


def refuse_unseen(paths: Mapping[str, str], there: There) -> None:
    """Refuse paths that are on this machine alone."""
    for what, path in paths.items():
        if Path(path).exists() and not there.seen[path]:
            raise BadInput(
                f"{path} ({what}) is on this machine, and the cluster's head does not see it: put it on a "
                "disk that all nodes share, or into a bucket."
            )


def unseen_here(paths: Mapping[str, str], there: There) -> list[str]:
    return [path for path in paths.values() if there.seen[path] and not Path(path).exists()]


def check(job: Job, box: Box | None, restart: Sequence[str]) -> str:
    """Refuse a job that the run there would refuse; returns what a restart would delete, in words."""
    plan = open_plan(job, box, workers=1)
    deleted = refuse_unfit(plan, restart)
    if alive(Ledger.load(Folder(plan.work)).state):
        raise BadInput(f"A run is at work in {plain(plan.work)}; first: chunkflow stop {plain(plan.work)}")
    return deleted


def extras(job: Job, own: Mapping[str, bytes]) -> list[str]:
    """The optional libraries that the tasks of this job need."""
    found = []
    if any(TORCH.search(text) for text in [*own.values(), *_task_texts(job)]):
        found.append("cnn")
    stacks = list(_stacks(job))
    encoded = any(layer.encoding in CODECS for layer in job.layers.values())
    if encoded or not all(path.endswith(PLAIN) for path in stacks):
        found.append("formats")
    if any(path.endswith(MICROSCOPES) for path in stacks):
        found.append("microscopes")
    return found


def _stacks(job: Job) -> Iterator[str]:
    """The paths of the stacks that the tasks of a job read, without what is named inside a file."""
    for entry in job.tasks:
        fields = task_type(entry.type, job.modules).model_fields
        for name in STACK_FIELDS & fields.keys() & entry.parameters.keys():
            if any(isinstance(mark, Located) for mark in fields[name].metadata):
                yield str(entry.parameters[name]).lower().partition(":")[0]


def _task_texts(job: Job) -> Iterator[bytes]:
    """The sources of all folders in which the built-in tasks of a job lie."""
    for entry in job.tasks:
        if entry.type in builtin_tasks():
            file = Path(inspect.getfile(task_type(entry.type, job.modules)))
            yield from (path.read_bytes() for path in file.parent.glob("*.py"))
