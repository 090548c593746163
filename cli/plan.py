"""The command that tells what running a job would take, and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chunkflow.accounts import read_accounts
from chunkflow.errors import BadInput
from chunkflow.estimate import Wanted
from chunkflow.forecast import StepForecast, forecast, worker_memory
from chunkflow.job import Job
from chunkflow.jobs.budget import measured
from chunkflow.jobs.means import HERE, Means, Money
from chunkflow.jobs.planned import open_plan
from chunkflow.measures import Measures
from chunkflow.plan import Plan
from chunkflow.prices import PACKAGED, load_prices
from chunkflow.words import in_words, parse_box, parse_deadline
from cli.options import Address, BoxOption, JobFile, Prices, Sample, Settings, Until, Workers
from cli.plan_prices import show_prices, throughputs


def plan(
    job: JobFile,
    box: BoxOption = "",
    sample: Sample = 0,
    until: Until = "",
    workers: Workers = 0,
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
    _show_work(console, planned, found.get(HERE, {}), means.local_workers)
    if table is not None:
        console.print(
            f"\nPrices of {table.as_of}, from {prices or PACKAGED}:", highlight=False, soft_wrap=True
        )
        show_prices(console, planned, table, found, wanted)


def _show_work(console: Console, planned: Plan, measures: Measures, workers: int) -> None:
    """Print what the job takes, on this machine where it was measured here."""
    steps = forecast(planned)
    console.print(
        f"Chunks of {list(planned.chunk)} voxels; {workers} workers of at most "
        f"{worker_memory(planned) / 2**30:.2f} GiB each.",
        highlight=False,
    )
    seconds = {name: found.mean for name, found in measures.items()}
    console.print(_table(steps, seconds, workers))
    for step in steps:
        if step.read_factor > 2:
            console.print(
                f"{step.name} reads {step.read_factor:.1f} voxels for each of its chunks' own; larger chunks "
                "(by more `memory` a worker in the job) read fewer.",
                highlight=False,
            )
    if seconds:
        total = sum(seconds.get(step.name, 0.0) * step.cells for step in steps) / workers
        unsampled = [step.name for step in steps if step.name not in seconds]
        rest = f", without {', '.join(unsampled)}, which read what is not made yet" if unsampled else ""
        console.print(f"About {in_words(total)} in all{rest}.", highlight=False)
        if rates := throughputs(planned, measures, lambda _: workers):
            told = f"For nodes like this machine in a price table: {rates}"
            console.print(told, highlight=False, soft_wrap=True)


def _table(steps: Sequence[StepForecast], seconds: Mapping[str, float], workers: int) -> Table:
    """A line a task; `seconds` a chunk of those that were sampled."""
    table = Table(box=None, pad_edge=False)
    sizes = ("chunks", "reads", "writes", "files", "requests", "memory a worker")
    timed = ("s a chunk", "time") if seconds else ()
    for name in ("task", *sizes, *timed):
        table.add_column(
            name, justify="left" if name == "task" else "right", no_wrap=name in ("task", "chunks")
        )
    for step in steps:
        each = seconds.get(step.name)
        times = (f"{each:.2f}", in_words(each * step.cells / workers)) if each else ("",) * len(timed)
        table.add_row(
            step.name,
            f"{step.cells:,}",
            f"{step.bytes_in / 1e9:,.2f} GB",
            f"{step.bytes_out / 1e9:,.2f} GB",
            f"{step.files:,}",
            f"{step.requests:,}",
            _gibibytes(step.memory, step.most_memory),
            *times,
        )
    return table


def _gibibytes(usual: int, most: int) -> str:
    """What is usual, and what is the most where that differs."""
    said = f"{usual / 2**30:,.2f} GiB"
    return said if most < 1.05 * usual else f"{usual / 2**30:,.2f} to {most / 2**30:,.2f} GiB"
