"""The commands that run a job, or go on with one."""

from __future__ import annotations

from rich.console import Console

from chunkflow.describe import open_plan
from chunkflow.jobs.means import Means, Money
from chunkflow.jobs.run import run_plan
from chunkflow.prices import PACKAGED
from cli.builtin import load_job
from cli.options import (
    Address,
    BoxOption,
    Budget,
    JobFile,
    Prices,
    Restart,
    Sample,
    Serial,
    Settings,
    Until,
    Workers,
    WorkUrl,
    Yes,
    agreed,
    parse_box,
)
from cli.work import Work


def run(
    job: JobFile,
    box: BoxOption = "",
    until: Until = "",
    workers: Workers = 0,
    address: Address = "",
    serial: Serial = False,
    restart: Restart = "",
    budget: Budget = None,
    prices: Prices = None,
    sample: Sample = 0,
    yes: Yes = False,
    set_: Settings = None,
) -> None:
    """Run a job, or go on with one that was interrupted.

    What is done already is not done again. The exit code is 0 only when every chunk is accounted for.

    Example: chunkflow run nuclei.yaml --workers 8 --set layers.dapi=/data/rat7/dapi
    """
    means = Means(workers, address, serial, Money(prices or PACKAGED, budget, sample))
    plan = open_plan(load_job(job, set_, until), parse_box(box), means.local_workers)
    run_plan(plan, means, job.resolve().parent, Console(), restart, lambda what: yes or agreed(what))


def retry(
    work: WorkUrl,
    workers: Workers = 0,
    address: Address = "",
    serial: Serial = False,
    budget: Budget = None,
    prices: Prices = None,
) -> None:
    """Go on with a job from its work folder alone: chunks that failed get new attempts.

    Example: chunkflow retry /data/jobs/rat-cortex
    """
    known = Work.open(work)
    run_plan(
        known.plan(),
        Means(workers, address, serial, Money(prices or PACKAGED, budget)),
        known.folder,
        Console(),
    )
