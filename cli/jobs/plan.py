"""The command that tells what running a job would take, and cost."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chunkflow.engine.cost.accounts import read_accounts
from chunkflow.engine.cost.estimate import Wanted
from chunkflow.engine.cost.job_forecast import JobForecast, forecast_job
from chunkflow.engine.cost.prices import PACKAGED, load_prices
from chunkflow.engine.cost.quote import quote
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.jobs.budget import measured
from chunkflow.jobs.means import HERE, Means, Money
from chunkflow.jobs.planned import open_plan
from chunkflow.words import parse_box, parse_deadline
from cli.jobs.prices import in_table, show_prices
from cli.options import Address, BoxOption, JobFile, Prices, SampleOption, Settings, Until, WorkersOption


def plan(
    job: JobFile,
    box: BoxOption = "",
    sample: SampleOption = 0,
    until: Until = "",
    workers: WorkersOption = 0,
    address: Address = "",
    prices: Prices = None,
    nodes: Annotated[int, typer.Option(min=0, help="Nodes of each device that prices are told for.")] = 0,
    deadline: Annotated[
        str, typer.Option(help="When all must be done, as in 36h or 2d: chooses the cheapest pool in time.")
    ] = "",
    set_: Settings = None,
) -> None:
    """Tell what a job would take: chunks, bytes, memory, with --sample the time, and what it would cost.

    Writes nothing. With --address it measures on one node of each device of that cluster.

    Example: chunkflow plan nuclei.yaml --sample 8 --prices prices.yaml --deadline 2d
    """
    console = Console()
    means = Means(workers, address, money=Money(sample=sample))
    wanted = Wanted(nodes or None, parse_deadline(deadline))
    if nodes and deadline:
        raise BadInput("--nodes says how many nodes there are, --deadline chooses it; give one of them.")
    if address and not sample:
        raise BadInput("--address is where a plan measures: say of how many chunks, as in --sample 8.")
    table = load_prices(prices or PACKAGED) if prices or nodes or deadline or address else None
    planned = open_plan(Job.from_file(job, set_ or [], until), parse_box(box), means.local_workers)
    if address:
        means.site.staff(planned)  # refuses a cluster that is not there, or has no room
    found = measured(planned, means, read_accounts(planned.job.work))
    show_forecast(console, forecast_job(planned, means.local_workers, found.get(HERE)))
    if table is not None:
        console.print(
            f"\nPrices of {table.as_of}, from {prices or PACKAGED}:", highlight=False, soft_wrap=True
        )
        show_prices(console, quote(planned, table, found, wanted))


def show_forecast(console: Console, forecast: JobForecast) -> None:
    """Print what the job takes, on this machine where it was measured here."""
    console.print(forecast.summary, highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in forecast.head:
        table.add_column(
            name, justify="left" if name == "task" else "right", no_wrap=name in ("task", "chunks")
        )
    for row in forecast.rows():
        table.add_row(*row)
    console.print(table)
    for line in forecast.remarks():
        console.print(line, highlight=False)
    if forecast.throughputs:
        told = f"For nodes like this machine in a price table: {in_table(forecast.throughputs)}"
        console.print(told, highlight=False, soft_wrap=True)
