"""The commands that tell how a job stands, from its work folder alone."""

from __future__ import annotations

import time
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chunkflow.accounts import dollars_of, read_accounts
from chunkflow.errors import ChunkflowError
from chunkflow.geometry import Vec
from chunkflow.ledger_state import DONE, FAILED, State
from chunkflow.sqs_queues import dead_letters
from chunkflow.words import dollars, in_words, plain
from cli.options import WorkUrl
from cli.work import Work

WIDEST = 64
SHADES = " ░▒▓█"
RECENT_HEARTBEATS = 6
SHOWN_OF_LETTER = 200


def status(
    work: WorkUrl,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it until the run ends.")] = False,
) -> None:
    """Show how a job stands: each task's chunks, rate and time left, a picture of the grid, and its cost.

    Example: chunkflow status s3://lab/jobs/rat-cortex --watch
    """
    known = Work.open(work)
    console = Console()
    if not watch:
        console.print(_picture(known.ledger.state, _cost(known.job().work)))
        return
    with Live(console=console, refresh_per_second=2) as live:
        while True:
            state = known.ledger.refresh()
            live.update(_picture(state, _cost(known.job().work)))
            if not alive(state):
                return
            time.sleep(2)


def _cost(work: str) -> str:
    """What the job has cost, where anything was paid."""
    accounts = read_accounts(work)
    paid = any(account.spent for account in accounts)
    return f"; {dollars(dollars_of(accounts))} spent" if paid else ""


def _picture(state: State, cost: str) -> Group:
    assert state.job is not None
    table = Table(box=None, pad_edge=False)
    rest = (
        "blocked" if state.ended == "incomplete" else "waiting"
    )  # behind what failed nothing waits any more
    for name in ("task", "chunks", "done", "running", rest, "failed", "rate", "left"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for step in state.steps.values():
        rate = state.rate(step.name)
        left = step.units - step.done - step.failed
        table.add_row(
            step.name,
            f"{step.units:,}",
            f"{step.done:,}",
            f"{step.running:,}" if step.running else "",
            f"{max(left - step.running, 0):,}" if left else "",
            f"[red]{step.failed:,}[/red]" if step.failed else "",
            f"{rate:,.1f}/s" if rate else "",
            in_words(left / rate) if rate and left and state.ended is None else "",
        )
    head = Text(f"{state.job.plan.job.job}: {_standing(state)}{cost}")
    maps = [(step, state.job.grids.get(step.name)) for step in state.steps.values() if "." not in step.name]
    drawn = [
        Text(f"\n{step.name} (seen along z)\n") + _grid_text(step.states, grid)
        for step, grid in maps
        if grid and step.units > 1
    ]
    return Group(head, table, *drawn)


def alive(state: State) -> bool:
    """Whether a run has given a sign of life of late."""
    if state.job is None:
        return False
    heartbeat = state.job.plan.job.heartbeat
    return state.ended is None and time.time() - state.heard < RECENT_HEARTBEATS * heartbeat


def _standing(state: State) -> str:
    ago = in_words(max(time.time() - state.heard, 0))
    if state.ended is not None:
        return f"{state.ended}, {ago} ago"
    if alive(state):
        return f"running, last heard of {ago} ago"
    return f"no sign of life for {ago}: the run was killed, or its machine is gone (chunkflow retry)"


def _grid_text(states: npt.NDArray[np.uint8], shape: Vec) -> Text:
    """A character for each column of chunks: how much of it is done; ! where one failed."""
    grid = states.reshape(shape, order="F")
    step = -(-max(grid.shape[0], grid.shape[1]) // WIDEST)
    text = Text()
    for j in range(0, grid.shape[1], step):
        for i in range(0, grid.shape[0], step):
            block = grid[i : i + step, j : j + step]
            if (block == FAILED).any():
                text.append("!", "red")
            else:
                share = float((block == DONE).mean())
                text.append(SHADES[int(share * (len(SHADES) - 1))] if share else "·")
        text.append("\n")
    return text


def failed(work: WorkUrl) -> None:
    """List the chunks that failed, with their causes and tracebacks.

    Example: chunkflow failed /data/jobs/rat-cortex
    """
    known = Work.open(work)
    console = Console()
    found = 0
    for step in known.ledger.state.steps.values():
        for failure in step.failures.values():
            found += 1
            what = "set aside" if failure.final else "to be tried again"
            console.print(
                f"[bold]{step.name} chunk {failure.index}[/bold]: {failure.cause}, {what} after attempt "
                f"{failure.attempt}",
                highlight=False,
            )
            console.print(Text(failure.traceback.rstrip()), soft_wrap=True)
            again = f"  chunkflow replay {plain(known.url)} {step.name} {failure.index}\n"
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
