"""The command that tells what running a job would take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chunkflow.describe import open_plan
from chunkflow.forecast import StepForecast, forecast, worker_memory
from chunkflow.plan import Plan
from chunkflow.worker import Worker
from cli.builtin import load_job
from cli.options import BoxOption, JobFile, Settings, Until, Workers, parse_box
from cli.running import Means
from cli.words import in_words


def plan(
    job: JobFile,
    box: BoxOption = "",
    sample: Annotated[
        int, typer.Option(min=0, help="Measure this many chunks of each task that can be read now.")
    ] = 0,
    until: Until = "",
    workers: Workers = 0,
    set_: Settings = None,
) -> None:
    """Tell what a job would take: chunks, bytes, memory, and with --sample the time. Writes nothing.

    Example: chunkflow plan nuclei.yaml --sample 4
    """
    console = Console()
    means = Means(workers)
    planned = open_plan(load_job(job, set_, until), parse_box(box), means.local_workers)
    seconds = _sampled(planned, sample) if sample else {}
    steps = forecast(planned)
    console.print(
        f"Chunks of {list(planned.chunk)} voxels; {means.local_workers} workers of at most "
        f"{worker_memory(planned) / 2**30:.2f} GiB each.",
        highlight=False,
    )
    console.print(_table(steps, seconds, means.local_workers))
    for step in steps:
        if step.read_factor > 2:
            console.print(
                f"{step.name} reads {step.read_factor:.1f} voxels for each of its chunks' own; larger chunks "
                "(by more `memory` a worker in the job) read fewer.",
                highlight=False,
            )
    if seconds:
        total = sum(seconds.get(step.name, 0.0) * step.cells for step in steps) / means.local_workers
        unsampled = [step.name for step in steps if step.name not in seconds]
        rest = f", without {', '.join(unsampled)}, which read what is not made yet" if unsampled else ""
        console.print(f"About {in_words(total)} in all{rest}.", highlight=False)


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


def _sampled(planned: Plan, count: int) -> dict[str, float]:
    """Mean seconds a chunk of each task whose inputs exist, measured here without writing."""
    worker = Worker(planned, "sample", writes=False)
    measured: dict[str, float] = {}
    for step in planned.steps:
        if any(p.maker is not None for products in step.inputs.values() for p in products):
            continue
        stage = planned.stages_of(step.index, "map")[0]
        cells = len(step.grid)
        chosen = [cell * cells // count for cell in range(count)] if count < cells else list(range(cells))
        worker.decide(step)
        worker.do(stage, chosen[0])  # the first also compiles and opens
        begin = time.perf_counter()
        for cell in chosen:
            worker.do(stage, cell)
        measured[step.name] = (time.perf_counter() - begin) / len(chosen)
    return measured
