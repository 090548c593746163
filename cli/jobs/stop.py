"""The command that ends a run from anywhere, in good order."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.data.info import full_url
from chunkflow.jobs.work import Work
from chunkflow.words import in_words, plain
from cli.options import JobsAddress, WorkUrl
from cluster.submission.submitted import stop_run

TELL_SECONDS = 10.0


def stop(
    work: WorkUrl,
    now: Annotated[
        bool, typer.Option("--now", help="End a submitted job's driver at once; what its chunks did is lost.")
    ] = False,
    address: JobsAddress = "",
) -> None:
    """End the run of a job in good order: begin nothing new, finish what is in flight, keep what is done.

    It goes through the work folder, from any machine that can write there. To go on: submit or run again.

    Example: chunkflow stop /data/jobs/rat-cortex
    """
    url = full_url(work)
    console = Console(soft_wrap=True, highlight=False)
    told = stop_run(url, now, address)
    if isinstance(told, Work):
        console.print(f"The run in {plain(url)} was asked to stop.")
        wait(told, console)
    else:
        jobs, submission = told
        console.print(f"{submission.id} on {jobs.address} was told to end.")


def wait(known: Work, console: Console) -> None:
    """Until the ledger says how the run ended."""
    begun = told = time.monotonic()
    for running in known.until_ended():
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            console.print(f"{in_words(told - begun):>9}  {running:,} chunks are being finished")
    console.print(f"It ended: {known.ledger.state.ended or 'without a word, so it was killed'}.")
