"""Say what this machine and this environment are, what can be reached, and what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chunkflow.words import counted, plain
from cluster.health.cluster import HEAD, ClusterHealth, examine_cluster
from cluster.health.here import examine_here


def doctor(
    layers: Annotated[
        list[str] | None, typer.Argument(metavar="[LAYER]...", help="Layers or work folders to be read.")
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            "--address",
            help="Ask every node of a Ray cluster instead: its dashboard, http://HOST:8265, or ray://HOST:10001.",
        ),
    ] = "",
) -> None:
    """Tell versions, cores, memory and disk, and whether layers can be read; name what is wrong.

    With --address, every node of a cluster that is up tells what it is, and tries to read each layer and to
    write and delete a small file there. Exits with 1 if anything is wrong.

    Example: chunkflow doctor --address http://head:8265 s3://lab/rat/dapi s3://lab/jobs
    """
    console = Console()
    if address:
        cluster = examine_cluster(address, layers or [])
        _show_cluster(cluster, console)
        _conclude(cluster.faults, console)
        return
    health = examine_here(layers or [])
    console.print(as_table("versions", health.versions))
    console.print(as_table("machine", health.machine))
    if layers:
        console.print(as_table("reachable", health.places))
    _conclude(health.faults, console)


def _show_cluster(health: ClusterHealth, console: Console) -> None:
    """A row for nodes that are alike, and for each place a line for nodes that found the same."""
    if not health.nodes and health.faults:
        return
    table = Table(title="nodes", title_justify="left", box=None, padding=(0, 2))
    for name in ("", *HEAD):
        table.add_column(name, overflow="fold")
    for row, hosts in health.alike().items():
        table.add_row(_named(hosts), *row)
    console.print(table)
    for url, alike in health.places.items():
        for tried, hosts in alike.items():
            where = "all nodes" if len(alike) == 1 else _named(hosts)
            console.print(
                f"{plain(url)} from {where}: {tried.what}; read: {tried.read}, write: {tried.write}, "
                f"delete: {tried.delete}",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )


def _named(hosts: Sequence[str]) -> str:
    return hosts[0] if len(hosts) == 1 else counted(len(hosts), "node")


def _conclude(faults: Sequence[str], console: Console) -> None:
    for fault in faults:
        console.print(f"[bold red]wrong[/]  {fault}", highlight=False, soft_wrap=True)
    if faults:
        raise typer.Exit(1)
    console.print("Nothing is wrong.")


def as_table(title: str, rows: Mapping[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for name, text in rows.items():
        table.add_row(name, text)
    return table
