"""The command that runs one chunk again, here, where it can be looked into."""

from __future__ import annotations

import pdb
import traceback
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.errors import ChunkflowError, Incomplete
from chunkflow.jobs.work import Work
from cli.options import WorkUrl


def replay(
    work: WorkUrl,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task, as `chunkflow failed` names it.")],
    index: Annotated[int, typer.Argument(metavar="INDEX", help="The chunk's index.")],
    debugger: Annotated[bool, typer.Option("--pdb", help="Stop in the debugger where it fails.")] = False,
) -> None:
    """Run one chunk again, here, in the foreground; what it makes is not written.

    Example: chunkflow replay /data/jobs/rat-cortex segment 17 --pdb
    """
    try:
        replayed = Work.open(work).replay(task, index)
    except Incomplete as error:
        cause = error.__cause__
        if cause is not None and (debugger or not isinstance(cause, ChunkflowError)):
            traceback.print_exception(cause)
        if cause is not None and debugger:
            pdb.post_mortem(cause.__traceback__)
        raise
    Console().print(str(replayed), highlight=False)
