"""Give a job to a Ray cluster and go: the cluster runs it, whatever becomes of this machine.

1. The job is read and checked here, as far as this machine sees its layers.
2. The cluster is asked what it has: Python and Ray must be the same, chunkflow goes along where it is not,
   and every path of the job that is here must be there.
3. The job (its settings applied, its paths whole) and the user's own modules are sent, and run there.
4. The work folder gets a note of it, so that `logs`, `stop` and `jobs` need no more than its name.
"""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console

import chunkflow
from chunkflow.describe import open_plan
from chunkflow.encodings import CODECS
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.job import Job, load_task_type
from chunkflow.ledger import Ledger
from chunkflow.opening import refuse_unfit
from chunkflow.prices import load_prices
from chunkflow.roles import Located
from chunkflow.storage import Folder
from cli.builtin import load_job, sources_of
from cli.options import (
    BoxOption,
    Budget,
    JobFile,
    Prices,
    Restart,
    Settings,
    Until,
    Yes,
    agreed,
    parse_box,
    refuse_no_sum,
)
from cli.status import alive
from cli.submitted import note, remember
from cli.words import plain
from cluster.environment import There, look, refuse_other, what_goes_along
from cluster.submission import Jobs, folder_of

TORCH = re.compile(rb"^\s*(?:import|from)\s+(?:torch|monai)\b", re.M)
MICROSCOPES = (".czi", ".nd2", ".lif")
PLAIN = (".npy", ".npz", ".zarr", ".n5", *MICROSCOPES)
"""Stacks that need nothing of the extra `formats`; a TIFF may, as it may be compressed."""
STACK_FIELDS = {"source", "tiles"}

Dashboard = Annotated[
    str,
    typer.Option("--address", help="The cluster's dashboard, as in http://HOST:8265.", show_default=False),
]
Count = Annotated[
    int,
    typer.Option(
        "--workers", "-w", min=0, help="Workers; by default as many as fit the cluster.", show_default=False
    ),
]


def submit(
    job: JobFile,
    address: Dashboard,
    workers: Count = 0,
    box: BoxOption = "",
    until: Until = "",
    restart: Restart = "",
    budget: Budget = None,
    prices: Prices = None,
    yes: Yes = False,
    set_: Settings = None,
) -> None:
    """Give a job to a Ray cluster, and go: it runs there, whatever becomes of this machine.

    A cluster's token is found as Ray finds it (RAY_AUTH_TOKEN, or ~/.ray/auth_token). Keys of buckets are not
    sent: the cluster's nodes must have theirs. Then: chunkflow status, logs, stop, with WORK.

    Example: chunkflow submit nuclei.yaml --address http://head:8265
    """
    wanted, part = load_job(job, set_, until), parse_box(box)
    work = wanted.work_for(part)
    table = checked_money(budget, prices)
    console = Console(soft_wrap=True, highlight=False)
    jobs = Jobs(address)
    paths = local_paths(wanted)
    there = look(jobs, list(paths.values()))
    refuse_other(there)
    refuse_unseen(paths, there)
    deleted = check(wanted, part, restart, unseen_here(paths, there), console)
    if restart and not yes and not agreed(deleted):
        raise BadInput("Nothing was deleted, and nothing was submitted.")
    own = {f"job/{name}": data for name, data in sources_of(wanted, job.resolve().parent).items()}
    files, environment = what_goes_along(there, extras(wanted, own))
    files |= own | table | {"job/job.yaml": yaml.safe_dump(wanted.model_dump(mode="json")).encode()}
    if environment:
        console.print("The cluster has not this chunkflow: it goes along, and is installed there first.")
    known = {"chunkflow": chunkflow.__version__, "job": wanted.job, "work": work}
    with folder_of(files) as folder:
        words = entrypoint(workers, part, restart, budget, list(table))
        submitted = jobs.submit(words, folder, environment, known)
    remember(jobs.address)
    note(work, jobs.address, submitted, job.resolve().parent)
    tell(console, jobs.address, submitted, work, there)


def checked_money(budget: float | None, prices: Path | None) -> dict[str, bytes]:
    """The price table to be sent, if one was named."""
    refuse_no_sum(budget)
    if prices is None:
        return {}
    load_prices(prices)
    return {"job/prices.yaml": prices.read_bytes()}


def entrypoint(
    workers: int, box: Box | None, restart: str, budget: float | None, tables: Sequence[str]
) -> str:
    """What is run there; `job/` is a folder of its own, so that a module beside the job file that bears the
    name of an installed one is not taken for it."""
    words = ["python", "-m", "cli.main", "run", "job/job.yaml", "--address", "auto"]
    words += ["--workers", str(workers)] if workers else []
    words += ["--box", str(box)] if box is not None else []
    words += ["--restart", restart, "--yes"] if restart else []
    words += ["--budget", f"{budget:g}"] if budget is not None else []
    words += [word for table in tables for word in ("--prices", table)]
    return shlex.join(words)


def local_paths(job: Job) -> dict[str, str]:
    """Every path on a disk that the job names, by what it is there; of the work folder the folder it lies in,
    as the job makes it."""
    paths = {f"layer {name}": entry.url for name, entry in job.layers.items()}
    paths["the folder of the work folder"] = job.work.rpartition("/")[0]
    for entry in job.tasks:
        for name, field in load_task_type(entry.type).model_fields.items():
            value = entry.parameters.get(name)
            if isinstance(value, str) and any(isinstance(mark, Located) for mark in field.metadata):
                paths[f"{entry.name}.{name}"] = f"file://{value.removeprefix('file://')}"
    return {what: plain(url) for what, url in paths.items() if url.startswith("file://")}


def refuse_unseen(paths: Mapping[str, str], there: There) -> None:
    """What is on this machine alone cannot be worked on there."""
    for what, path in paths.items():
        if Path(path).exists() and not there.seen[path]:
            raise BadInput(
                f"{path} ({what}) is on this machine, and the cluster's head does not see it: put it on a "
                "disk that all nodes share, or into a bucket."
            )


def unseen_here(paths: Mapping[str, str], there: There) -> list[str]:
    return [path for path in paths.values() if there.seen[path] and not Path(path).exists()]


def check(job: Job, box: Box | None, restart: str, unseen: list[str], console: Console) -> str:
    """Raise BadInput for whatever the run there would be refused for, as far as this machine sees it. Returns
    what a restart would delete, in words."""
    if unseen:
        console.print(f"{unseen[0]} is not on this machine: the job is checked when it runs there.")
        return f"{restart} and what comes after it"
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
        fields = load_task_type(entry.type).model_fields
        for name in STACK_FIELDS & fields.keys() & entry.parameters.keys():
            if any(isinstance(mark, Located) for mark in fields[name].metadata):
                yield str(entry.parameters[name]).lower().partition(":")[0]


def _task_texts(job: Job) -> Iterator[bytes]:
    """The modules of the built-in tasks of a job: one of each name, and those that go with it."""
    for entry in job.tasks:
        module = entry.type.partition(":")[0]
        if module.startswith("tasks."):
            file = Path(str(sys.modules[module].__file__))
            yield from (path.read_bytes() for path in file.parent.glob(f"{file.stem}*.py"))


def tell(console: Console, address: str, submitted: str, work: str, there: There) -> None:
    """What to do next."""
    place = plain(work)
    console.print(f"Submitted to {address} as {submitted}; this machine may go.")
    if work.startswith("file://") and there.host != platform.node():
        console.print(
            f"{place} must be the same folder on every node; to try: "
            f"chunkflow doctor --address {address} {place}"
        )
    console.print(
        f"  chunkflow status {place} --watch\n  chunkflow logs {place} -f\n  chunkflow stop {place}"
    )
