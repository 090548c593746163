"""The command that tells what running a job would take, and cost."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chunkflow.engine.cost.estimate import Wanted
from chunkflow.engine.cost.job_forecast import JobForecast, forecast_job
from chunkflow.engine.cost.prices import PACKAGED, load_prices, rates_line
from chunkflow.engine.cost.quote import Quote, quote
from chunkflow.engine.planning.job import Job
from chunkflow.jobs.budget import measured_plan
from chunkflow.jobs.means import HERE, Means, Money
from chunkflow.words import parse_box, parse_deadline
from cli.options import (
    Address,
    BoxOption,
    JobFile,
    Prices,
    SampleOption,
    Settings,
    Until,
    WorkersOption,
)


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
    means = Means(workers, address, money=Money(prices or PACKAGED, sample=sample))
    wanted = Wanted(nodes or None, parse_deadline(deadline))
    priced = prices or nodes or deadline or address
    table = load_prices(means.money.prices) if priced else None
    planned, measures = measured_plan(Job.from_file(job, set_ or [], until), means, parse_box(box))
    show_forecast(console, forecast_job(planned, means.local_workers, measures.get(HERE)))
    if table is not None:
        said = f"\nPrices of {table.as_of}, from {means.money.prices}:"
        console.print(said, highlight=False, soft_wrap=True)
        show_quote(console, quote(planned, measures, table, wanted))


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
        told = f"For nodes like this machine in a price table: {rates_line(forecast.throughputs)}"
        console.print(told, highlight=False, soft_wrap=True)


def show_quote(console: Console, quote: Quote) -> None:
    """Print the table of devices, what it does not say, and the pool that a deadline chooses."""
    if quote.known:
        table = Table(box=None, pad_edge=False)
        for name in quote.head:
            table.add_column(name, justify="left" if name == "device" else "right", no_wrap=True)
        for row in quote.rows():
            table.add_row(*row)
        console.print(table)
    for line in quote.remarks():
        console.print(line, highlight=False, soft_wrap=True)
    if choice := quote.choice():
        console.print(choice, highlight=False, soft_wrap=True)
