"""The command that puts the counts of several brains into one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.words import counted
from tasks.count.cohort import write_cohort


def count(
    works: Annotated[
        list[str], typer.Argument(metavar="WORK...", help="The work folders of the brains' jobs.")
    ],
    to: Annotated[Path, typer.Option(metavar="FILE", help="The file: .csv or .parquet.")],
    table: Annotated[
        str, typer.Option(help="The table of counts, where a job has made several.", show_default=False)
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE where it exists.")] = False,
) -> None:
    """Put what the task `count` has counted in several brains into one table, to be compared.

    A row is a sample (named as its job, or where two are named alike as its work folder), a region, a side
    and a group; regions that a sample lacks have no row of it. The task itself goes into a job file: see the
    documentation of `count`.

    Example: chunkflow count work/rat1 work/rat2 work/rat3 --to cohort.csv
    """
    rows = write_cohort(works, to, table, overwrite)
    Console(soft_wrap=True).print(
        f"{counted(len(rows), 'row')} of {counted(len(works), 'sample')} are in {to}.", highlight=False
    )
