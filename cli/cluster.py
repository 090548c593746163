"""The commands that make a cluster from its file, look at it, and end it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chunkflow.errors import Incomplete
from chunkflow.words import counted
from cli.options import asked
from cluster.providers import load_place

ClusterPath = Annotated[Path, typer.Argument(metavar="FILE", help="The cluster's file (YAML).")]
Agreed = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before nodes are asked for.")]

app = typer.Typer(no_args_is_help=True)


@app.callback()
def cluster() -> None:
    """Make a cluster on SLURM, AWS or GCP from one file, look at it, end it."""


@app.command()
def up(file: ClusterPath, yes: Agreed = False) -> None:
    """Check the file against the site, start the cluster, and say its address.

    It grows and shrinks with the work. Where it is up already, only its address is said.

    Example: chunkflow cluster up slurm.yaml
    """
    load_place(file).up(lambda what: yes or asked(what, "Nothing was started"), _say)


@app.command()
def status(file: ClusterPath) -> None:
    """Show what runs, what waits and why, and what the site has refused; changes nothing.

    Example: chunkflow cluster status slurm.yaml
    """
    for line in load_place(file).status():
        _say(line)


@app.command()
def down(file: ClusterPath) -> None:
    """End the cluster and all that it started; the exit code is 0 only when nothing is left.

    Example: chunkflow cluster down slurm.yaml
    """
    left = load_place(file).down(_say)
    if left:
        raise Incomplete(f"{counted(left, 'thing')} of the cluster could not be ended; say it once more.")


def _say(line: str) -> None:
    typer.echo(line)
