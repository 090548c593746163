"""The command that starts a pool for a job whose runner is elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.engine.run.events import Event, Said
from chunkflow.jobs.means import Means
from chunkflow.jobs.serving import PoolProcess
from cli.jobs.interrupts import Interrupts
from cli.options import Address, Serial, WorkersOption, WorkUrl

ModulesFolder = Annotated[
    Path,
    typer.Option(exists=True, file_okay=False, help="Where your own tasks are; by default, this folder."),
]


def work(
    work: WorkUrl,
    workers: WorkersOption = 0,
    address: Address = "",
    serial: Serial = False,
    modules: ModulesFolder = Path("."),
) -> None:
    """Work for a job that runs elsewhere: take its chunks from its queue, and do them here.

    The job's file must name the queue, as in queue: sqs://NAME. May be started before the run.

    Example: chunkflow work s3://lab/jobs/rat-cortex --workers 16
    """
    console = Console()
    pool = PoolProcess(work, Means(workers, address, serial), modules, [lambda event: _print(event, console)])
    with Interrupts(pool.interrupt):
        pool.run()


def _print(event: Event, console: Console) -> None:
    if isinstance(event, Said):
        console.print(event.sentence, highlight=False, soft_wrap=True)
