"""The command that gives a job to a Ray cluster."""

from __future__ import annotations

import platform
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.engine.planning.job import Job
from chunkflow.words import parse_box, plain
from cli.options import BoxOption, Budget, JobFile, Prices, Restart, Settings, Until, Yes, agreed, parse_names
from cluster.submission.submit import Submitted
from cluster.submission.submit import submit as give

Dashboard = Annotated[
    str,
    typer.Option("--address", help="The cluster's dashboard, as in http://HOST:8265.", show_default=False),
]
CountOption = Annotated[
    int,
    typer.Option(
        "--workers", "-w", min=0, help="Workers; by default as many as fit the cluster.", show_default=False
    ),
]


def submit(
    job: JobFile,
    address: Dashboard,
    workers: CountOption = 0,
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
    wanted, part = Job.from_file(job, set_ or [], until), parse_box(box)
    submitted = give(
        wanted,
        address,
        workers=workers,
        box=part,
        restart=parse_names(restart),
        budget=budget,
        prices=prices,
        agree=lambda deleted: yes or agreed(deleted),
    )
    tell(Console(soft_wrap=True, highlight=False), submitted)


def tell(console: Console, submitted: Submitted) -> None:
    """Print where the job was submitted, and the commands to go on with."""
    address, place = submitted.address, plain(submitted.work)
    if submitted.unseen:
        console.print(f"{submitted.unseen[0]} is not on this machine: the job is checked when it runs there.")
    if submitted.installs:
        console.print("The cluster has not this chunkflow: it goes along, and is installed there first.")
    console.print(f"Submitted to {address} as {submitted.id}; this machine may go.")
    if submitted.work.startswith("file://") and submitted.host != platform.node():
        console.print(
            f"{place} must be the same folder on every node; to try: "
            f"chunkflow doctor --address {address} {place}"
        )
    console.print(
        f"  chunkflow status {place} --watch\n  chunkflow logs {place} -f\n  chunkflow stop {place}"
    )
