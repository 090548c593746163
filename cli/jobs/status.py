"""The commands that tell how a job stands, from its work folder alone."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chunkflow.engine.queue.sqs.queues import dead_letters
from chunkflow.errors import ChunkflowError
from chunkflow.jobs.status import Status
from chunkflow.jobs.work import Work
from chunkflow.words import plain
from cli.options import WorkUrl

SHOWN_OF_LETTER = 200


def status(
    work: WorkUrl,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until the run ends.")] = False,
) -> None:
    """Show how a job stands: each task's chunks, rate and time left, a picture of the grid, and its cost.

    Example: chunkflow status s3://lab/jobs/rat-cortex --watch
    """
    ledger = Work.open(work).ledger
    console = Console()
    if not watch:
        console.print(_shown(Status.of(ledger.state)))
        return
    with Live(console=console, refresh_per_second=2) as live:
        while True:
            now = Status.of(ledger.refresh())
            live.update(_shown(now))
            if not now.alive:
                return
            time.sleep(2)


def _shown(status: Status) -> Group:
    table = Table(box=None, pad_edge=False)
    for name in status.head:
        style = "red" if name == "failed" else None
        table.add_column(name, justify="left" if name == "task" else "right", style=style)
    for stage in status.stages.values():
        table.add_row(*map(Text, stage.row()))
    pictures = [
        Text(f"\n{stage.name} (seen along z)\n") + _red_where_failed(stage.picture + "\n")
        for stage in status.stages.values()
        if stage.picture
    ]
    return Group(Text(status.title), table, *pictures)


def _red_where_failed(picture: str) -> Text:
    text = Text(picture)
    text.highlight_words(["!"], "red")
    return text


def failed(work: WorkUrl) -> None:
    """List the chunks that failed, with their causes and tracebacks.

    Example: chunkflow failed /data/jobs/rat-cortex
    """
    known = Work.open(work)
    console = Console()
    found = 0
    for stage in Status.of(known.ledger.state).stages.values():
        for failure in stage.failures:
            found += 1
            what = "set aside" if failure.final else "to be tried again"
            console.print(
                f"[bold]{stage.name} chunk {failure.index}[/bold]: {failure.cause}, {what} after attempt "
                f"{failure.attempt}",
                highlight=False,
            )
            console.print(Text(failure.traceback.rstrip()), soft_wrap=True)
            again = f"  chunkflow replay {plain(known.url)} {stage.name} {failure.index}\n"
            console.print(again, highlight=False, soft_wrap=True)
    if not found:
        console.print("No chunk has failed.")
    for line in unread(known):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def unread(known: Work) -> list[str]:
    """What pools and runner could not read of what they were sent over the job's queue."""
    url = known.job().queue
    if not url:
        return []
    try:
        letters = dead_letters(url)
    except ChunkflowError as error:
        return [f"What could not be read of {url} cannot be listed. {error}"]
    return [f"Not read from {url}: {reason}: {body[:SHOWN_OF_LETTER]}" for reason, body in letters]
