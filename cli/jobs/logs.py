"""The command that tells what a job said, and all that is known of one chunk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

import typer
from rich.console import Console

from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.jobs.log import chunk_history, log_lines
from chunkflow.jobs.work import Work
from chunkflow.words import in_words, plain
from cli.options import JobsAddress, WorkUrl
from cluster.submission.submitted import reachable

PARTS = ("read", "map", "write")


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
    found = reachable(url, address)
    if found is None:
        tell_folder(Work.open(url), follow, console)
        return
    jobs, submission = found
    pieces = jobs.follow(submission.id) if follow else [jobs.log(submission.id)]
    for piece in pieces:
        console.out(piece, end="")


def tell_folder(known: Work, follow: bool, console: Console) -> None:
    """The lines of all runs; following, until the run ends."""
    lines = log_lines(known, follow)
    first = next(lines, None)
    if first is None:
        console.print(f"Nothing was logged yet in {plain(known.url)}.")
        return
    for line in chain([first], lines):
        console.print(in_a_line(line))


def tell_chunk(known: Work, chunk: str, console: Console) -> None:
    """Every attempt at a chunk with its traceback, and what the ledger says of it."""
    task, slash, text = chunk.rpartition("/")
    stages = known.ledger.state.stages
    if not slash or not text.isdigit() or task not in stages:
        named = ", ".join(stages)
        raise BadInput(f"--chunk takes TASK/INDEX, as in segment/17, not {chunk!r}; tasks: {named}.")
    found = chunk_history(known, task, int(text))
    for line in found.lines:
        console.print(in_a_line(line))
        for said in str(line.get("traceback", "")).rstrip().splitlines():
            console.print(f"    {said}")
    console.print(f"The ledger says of {task} chunk {int(text)}: {found.state}.")


def in_a_line(line: dict[str, Any]) -> str:
    """A line of a log for people."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(line.get("at", 0))))
    if "event" in line:
        rest = {k: v for k, v in line.items() if k not in ("at", "event") and v}
        return " ".join([at, str(line["event"]), *(f"{k} {v}" for k, v in rest.items())])
    return f"{at} {line['task']} chunk {line['chunk']}" + "".join(f", {said}" for said in _outcome(line))


def _outcome(line: dict[str, Any]) -> Iterator[str]:
    if line.get("attempt", 1) > 1:
        yield f"attempt {line['attempt']}"
    if line.get("alone"):
        yield "alone on its worker"
    if "cause" in line:
        yield f"{line['cause']}: {'set aside' if line['final'] else 'to be tried again'}"
    elif line.get("again"):
        yield "done again, and counted once"
    else:
        yield "empty" if line.get("empty") else "done"
    yield (
        ", ".join(
            f"{part} {in_words(seconds)}"
            for part, seconds in zip(PARTS, line["seconds"], strict=True)
            if seconds or "cause" not in line
        )
        or "nothing was timed"
    )
    if "bytes" in line:
        yield "{:,} bytes in, {:,} out".format(*line["bytes"])
    place = " ".join(filter(None, (line.get("device"), line.get("node", "")[:12])))
    yield f"by {line['worker'] or 'no worker'}" + (f" on {place}" if place else "")
