"""The commands that tell how a job stands, from its work folder alone."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chunkflow.jobs.status import Status
from chunkflow.jobs.work import Work
from chunkflow.words import plain
from cli.options import WorkUrl


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
    said = [Text(f"\n{line}") for line in status.said]
    return Group(Text(status.title), table, *pictures, *said)


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
    chunks = known.status().failures
    for chunk in chunks:
        console.print(f"[bold]{chunk.task} chunk {chunk.index}[/bold]: {chunk.outcome}", highlight=False)
        console.print(Text(chunk.traceback), soft_wrap=True)
        again = f"  chunkflow replay {plain(known.url)} {chunk.task} {chunk.index}\n"
        console.print(again, highlight=False, soft_wrap=True)
    if not chunks:
        console.print("No chunk has failed.")
    for line in known.unread():
        console.print(line, highlight=False, soft_wrap=True, markup=False)
