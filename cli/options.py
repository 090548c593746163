"""Arguments and options that several commands share, declared once."""

from __future__ import annotations

import sys
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, vec

JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="The job file (YAML).")]
WorkUrl = Annotated[str, typer.Argument(metavar="WORK", help="The work folder of a job: a path or URL.")]
Workers = Annotated[
    int,
    typer.Option(
        "--workers", "-w", min=0, help="Worker processes; by default as many as cores.", show_default=False
    ),
]
Address = Annotated[
    str,
    typer.Option(
        "--address", help="A Ray cluster to run on, as in ray://HOST:10001; by default this machine."
    ),
]
JobsAddress = Annotated[
    str,
    typer.Option(
        "--address",
        help="The dashboard of the cluster that it was submitted to, where WORK itself does not tell.",
    ),
]
Serial = Annotated[bool, typer.Option("--serial", help="Run in this process, without Ray; for debugging.")]
BoxOption = Annotated[
    str,
    typer.Option(
        "--box", help="Run on a part first, in voxels of mip 0: X0-X1,Y0-Y1,Z0-Z1. Outputs go to WORK/try."
    ),
]
Until = Annotated[
    str,
    typer.Option(
        "--until", metavar="TASK", help="Run the tasks up to this one; go on with the others later."
    ),
]
Prices = Annotated[
    Path | None,
    typer.Option(
        "--prices",
        metavar="FILE",
        help="A price table (YAML) of your own; by default the one that comes with chunkflow.",
        show_default=False,
    ),
]
Sample = Annotated[
    int,
    typer.Option("--sample", min=0, help="First measure so many chunks of each task that can be read now."),
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget",
        metavar="DOLLARS",
        help="Stop in good order before all runs of this job have cost more than that.",
        show_default=False,
    ),
]
Restart = Annotated[str, typer.Option("--restart", help="Clear this task and those after it first.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a key of the job, as in layers.dapi=URL or tasks.segment.diameter=9."),
]


def parse_box(text: str) -> Box | None:
    """A box as typed, X0-X1,Y0-Y1,Z0-Z1; None where none was given."""
    if not text:
        return None
    try:
        box = Box.parse(text)
        vec(box.start)
    except ValueError as error:
        raise BadInput(
            f"--box takes X0-X1,Y0-Y1,Z0-Z1 in voxels, as in 0-256,0-256,0-64, not {text!r}."
        ) from error
    if box.empty:
        raise BadInput(f"--box {text} is empty: each range must go from a smaller to a larger number.")
    return box


def parse_names(text: str) -> list[str]:
    """Names as typed, one after the other with commas between; none where none was given."""
    return [name.strip() for name in text.split(",")] if text else []


def refuse_no_sum(budget: float | None) -> None:
    """A budget is a sum that can be reached."""
    if budget is not None and not (isfinite(budget) and budget > 0):
        raise BadInput(f"--budget takes dollars above 0, not {budget:g}.")


def asked(question: str, undone: str) -> bool:
    """Ask whether to go on; `undone` says what has not happened where there is nobody to ask."""
    try:
        return typer.confirm(f"{question} Go on?", err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        raise BadInput(f"{undone}: there is nobody to ask here; say --yes.") from None


def agreed(what: str) -> bool:
    """Ask before something is deleted."""
    return asked(f"This deletes what these tasks made ({what}).", "Nothing was deleted")
