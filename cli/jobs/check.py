"""The command that checks what a job has made against its ledger."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from chunkflow.errors import Incomplete
from chunkflow.jobs.work import check as check_work
from chunkflow.words import counted
from cli.options import WorkUrl

SHOWN = 100


def check(
    work: WorkUrl,
    deep: Annotated[bool, typer.Option("--deep", help="Read every storage chunk, too.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Let what is missing or damaged be made again by the next run.")
    ] = False,
) -> None:
    """Check that all that a job has made is there, and is what was written; name what is not.

    Example: chunkflow check /data/jobs/rat-cortex --deep
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    checked = check_work(work, deep, repair, console.print)
    faults = checked.faults
    console.print("\n".join([checked.title, *map(str, faults[:SHOWN])]))
    if len(faults) > SHOWN:
        console.print(f"... and {len(faults) - SHOWN:,} more.")
    if checked.repaired:
        console.print(f"Go on with: chunkflow retry {checked.work}")
    elif faults and not repair:
        options = "--deep --repair" if deep else "--repair"
        raise Incomplete(
            f"{counted(len(faults), 'fault')} in {checked.work}. "
            f"Have them made again: chunkflow check {checked.work} {options}, then retry"
        )
