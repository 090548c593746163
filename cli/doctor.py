"""Say what this machine and this environment are, what can be reached, and what stands in the way."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.doctor_cluster import examine_cluster
from cli.doctor_here import machine, strangers, versions
from cli.doctor_places import reach


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
        _conclude(examine_cluster(address, layers or [], console), console)
        return
    console.print(as_table("versions", versions()))
    console.print(as_table("machine", machine()))
    faults = strangers(importlib.metadata.packages_distributions())
    if layers:
        reached = {layer: reach(layer) for layer in layers}
        console.print(as_table("reachable", {name: text for name, (text, _) in reached.items()}))
        faults += [f"{name}: {text}" for name, (text, good) in reached.items() if not good]
    _conclude(faults, console)


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
