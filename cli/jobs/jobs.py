"""The command that lists what was submitted to a cluster."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chunkflow.words import in_words, plain
from cluster.submission.jobs import Jobs


def jobs(
    address: Annotated[
        str, typer.Option("--address", help="The cluster's dashboard.")
    ] = "http://127.0.0.1:8265",
) -> None:
    """List the jobs that were submitted to a cluster: work folder, name, state, since when.

    Example: chunkflow jobs --address http://head:8265
    """
    cluster = Jobs(address)
    console = Console()
    found = cluster.submissions()
    if not found:
        console.print(f"No job was submitted to {cluster.address}.", highlight=False, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("work folder", "job", "state", "since", "submission"):
        table.add_column(name, overflow="fold", no_wrap=name == "submission")
    for one in found:
        ago = f"{in_words(max(time.time() - one.since, 0))} ago"
        table.add_row(plain(one.work), one.job, one.state.lower(), ago, one.id)
    console.print(table, highlight=False)
