"""The commands that run a job, or tell what running it would take."""

from __future__ import annotations

import pdb
import time
import traceback
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chunkflow.describe import open_plan
from chunkflow.errors import BadInput, ChunkflowError, Incomplete
from chunkflow.forecast import forecast, worker_memory
from chunkflow.job import Job
from chunkflow.plan import Plan
from chunkflow.worker import Worker
from cli.builtin import see_modules_of, task_type
from cli.options import Address, BoxOption, Restart, Serial, Settings, Workers, Yes, parse_box
from cli.progress import in_words
from cli.running import Means, run_plan
from cli.work import Work

JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="The job file (YAML).")]
WorkUrl = Annotated[str, typer.Argument(metavar="WORK", help="The work folder of a job: a path or URL.")]


def load_job(path: Path, settings: list[str] | None) -> Job:
    see_modules_of(path.resolve().parent)
    return Job.from_file(path, task_type, settings or [])


def run(
    job: JobFile,
    box: BoxOption = "",
    workers: Workers = 0,
    address: Address = "",
    serial: Serial = False,
    restart: Restart = "",
    yes: Yes = False,
    set_: Settings = None,
) -> None:
    """Run a job, or go on with one that was interrupted.

    What is done already is not done again. The exit code is 0 only when every chunk is accounted for.

    Example: chunkflow run nuclei.yaml --workers 8 --set layers.dapi=s3://lab/rat7/dapi
    """
    console = Console()
    means = Means(workers, address, serial)
    plan = open_plan(load_job(job, set_), parse_box(box), means.local_workers)
    run_plan(plan, means, job.resolve().parent, console, restart, lambda what: yes or _agree(what))
    if plan.box is not None:
        console.print(f"The part's layers are in {plan.work}/layers", highlight=False, soft_wrap=True)


def _agree(what: str) -> bool:
    return typer.confirm(f"This deletes what these tasks made ({what}). Go on?", err=True)


def plan(
    job: JobFile,
    box: BoxOption = "",
    sample: Annotated[
        int, typer.Option(help="Measure this many chunks of each task that can be read now.")
    ] = 0,
    workers: Workers = 0,
    set_: Settings = None,
) -> None:
    """Tell what a job would take: chunks, bytes, memory, and with --sample the time. Writes nothing.

    Example: chunkflow plan nuclei.yaml --sample 4
    """
    console = Console()
    means = Means(workers)
    planned = open_plan(load_job(job, set_), parse_box(box), means.local_workers)
    seconds = _sampled(planned, sample) if sample else {}
    table = Table(box=None, pad_edge=False)
    for name in ("task", "chunks", "reads", "writes", "memory a worker", "s a chunk", "time"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for step in forecast(planned):
        each = seconds.get(step.name)
        wide = f" (reads {step.read_factor:.1f}x its chunk)" if step.read_factor > 2 else ""
        table.add_row(
            step.name + wide,
            f"{step.cells:,}",
            f"{step.bytes_in / 1e9:,.2f} GB",
            f"{step.bytes_out / 1e9:,.2f} GB",
            _gibibytes(step.memory, step.most_memory),
            f"{each:.2f}" if each else "",
            in_words(each * step.cells / means.local_workers) if each else "",
        )
    console.print(
        f"Chunks of {list(planned.chunk)} voxels; {means.local_workers} workers of at most "
        f"{worker_memory(planned) / 2**30:.2f} GiB each.",
        highlight=False,
    )
    console.print(table)
    if seconds:
        total = sum(seconds.get(s.name, 0.0) * s.cells for s in forecast(planned)) / means.local_workers
        unsampled = [s.name for s in forecast(planned) if s.name not in seconds]
        rest = f", without {', '.join(unsampled)}, which read what is not made yet" if unsampled else ""
        console.print(f"About {in_words(total)} in all{rest}.", highlight=False)


def _gibibytes(usual: int, most: int) -> str:
    """What is usual, and what is the most where that differs."""
    said = f"{usual / 2**30:,.2f} GiB"
    return said if most < 1.05 * usual else f"{said}, at most {most / 2**30:,.2f}"


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


def retry(
    work: WorkUrl,
    workers: Workers = 0,
    address: Address = "",
    serial: Serial = False,
) -> None:
    """Go on with a job from its work folder alone: chunks that failed get new attempts.

    Example: chunkflow retry /data/jobs/rat-cortex
    """
    known = Work.open(work)
    planned = known.plan()
    run_plan(planned, Means(workers, address, serial), known.folder, Console())


def replay(
    work: WorkUrl,
    task: Annotated[str, typer.Argument(help="The task, as `chunkflow failed` names it.")],
    index: Annotated[int, typer.Argument(help="The chunk's index.")],
    debugger: Annotated[bool, typer.Option("--pdb", help="Stop in the debugger where it fails.")] = False,
) -> None:
    """Run one chunk again, here, in the foreground; what it makes is not written.

    Example: chunkflow replay /data/jobs/rat-cortex segment 17 --pdb
    """
    planned = Work.open(work).plan()
    stage = planned.stage_index(task)
    if not 0 <= index < len(planned.stages[stage].grid):
        raise BadInput(f"{task} has chunks 0 to {len(planned.stages[stage].grid) - 1}, not {index}.")
    console = Console()
    begin = time.perf_counter()
    try:
        Worker(planned, "replay", writes=False).do(stage, index)
    except Exception as error:
        if debugger:
            traceback.print_exc()
            pdb.post_mortem(error.__traceback__)
        elif not isinstance(error, ChunkflowError):
            traceback.print_exc()
        raise Incomplete(f"{task} chunk {index} failed: {type(error).__name__}: {error}") from error
    took = in_words(time.perf_counter() - begin)
    console.print(
        f"{task} chunk {index} ({planned.stages[stage].grid.box(index)}) is well: {took}.", highlight=False
    )
