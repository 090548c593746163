"""The command that runs one chunk again, here, where it can be looked into."""

from __future__ import annotations

import pdb
import time
import traceback
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.engine.worker.worker import Worker
from chunkflow.errors import BadInput, ChunkflowError, Incomplete
from chunkflow.jobs.work import Work
from chunkflow.words import in_words
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
    planned = Work.open(work).plan()
    stage = planned.stage_index(task)
    if not 0 <= index < len(planned.stages[stage].grid):
        raise BadInput(f"{task} has chunks 0 to {len(planned.stages[stage].grid) - 1}, not {index}.")
    console = Console()
    begin = time.perf_counter()
    try:
        Worker(planned, "replay", writes=False).do(stage, index)
    except Exception as error:
        if debugger:
            traceback.print_exc()
            pdb.post_mortem(error.__traceback__)
        elif not isinstance(error, ChunkflowError):
            traceback.print_exc()
        said = " ".join(str(error).split())
        raise Incomplete(f"{task} chunk {index} failed: {type(error).__name__}: {said}") from error
    took = in_words(time.perf_counter() - begin)
    console.print(
        f"{task} chunk {index} ({planned.stages[stage].grid.box(index)}) is well: {took}.", highlight=False
    )
