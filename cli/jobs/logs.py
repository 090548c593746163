"""The command that tells what a job said, and all that is known of one chunk."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.jobs.log import chunk_history, in_a_line
from chunkflow.jobs.work import Work
from cli.options import JobsAddress, WorkUrl
from cluster.submission.submitted import run_log


def logs(
    work: WorkUrl,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    chunk: Annotated[
        str, typer.Option(metavar="TASK/INDEX", help="All that is known of one chunk, from all runs.")
    ] = "",
    address: JobsAddress = "",
) -> None:
    """Tell what a job said: of a submitted one what its run printed, of others a line for every chunk.

    Example: chunkflow logs s3://lab/jobs/rat-cortex --chunk segment/17
    """
    url = full_url(work)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if chunk:
        tell_chunk(Work.open(url), chunk, console)
        return
    for piece in run_log(url, follow, address):
        console.out(piece, end="")


def tell_chunk(known: Work, chunk: str, console: Console) -> None:
    """Every attempt at a chunk with its traceback, and what the ledger says of it."""
    task, slash, text = chunk.rpartition("/")
    if not slash or not text.isdigit():
        named = ", ".join(known.ledger.stages)
        raise BadInput(f"--chunk takes TASK/INDEX, as in segment/17, not {chunk!r}; tasks: {named}.")
    found = chunk_history(known, task, int(text))
    for line in found.lines:
        console.print(in_a_line(line))
        for said in str(line.get("traceback", "")).rstrip().splitlines():
            console.print(f"    {said}")
    console.print(f"The ledger says of {task} chunk {int(text)}: {found.state}.")
