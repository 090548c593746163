"""Arguments and options that several commands share, declared once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from chunkflow.errors import BadInput

JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="The job file (YAML).")]
WorkUrl = Annotated[str, typer.Argument(metavar="WORK", help="The work folder of a job: a path or URL.")]
WorkersOption = Annotated[
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
SampleOption = Annotated[
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
Restart = Annotated[
    str,
    typer.Option(
        "--restart",
        metavar="TASK",
        help="Clear this task and those after it first; several with commas between.",
        show_default=False,
    ),
]
RestartAll = Annotated[
    bool, typer.Option("--restart", help="Clear what this made in its work folder first, and make it anew.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set a key of the job, as in layers.dapi=URL or tasks.segment.diameter=9."),
]


def parse_names(text: str) -> list[str]:
    """Names as typed, one after the other with commas between; none where none was given."""
    return [name.strip() for name in text.split(",")] if text else []


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
