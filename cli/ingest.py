"""Bring a stack in: checked first, its extent told, then made a layer, or one for each of its channels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from chunkflow.describe import open_plan
from chunkflow.errors import BadInput
from chunkflow.job import Job
from chunkflow.volume import full_url
from cli.builtin import task_type
from cli.means import Means
from cli.options import Address, Serial, Workers
from cli.running import run_plan
from tasks.ingest import Ingest

Source = Annotated[
    str,
    typer.Argument(metavar="SRC", help="What to read; FILE:NAME for one of several arrays in a file."),
]
Dest = Annotated[
    str,
    typer.Argument(metavar="DEST", help="The layer to make, a path or URL; a folder of layers for channels."),
]
VoxelSize = Annotated[
    str,
    typer.Option(
        help="Size of a voxel along x, y, z with its unit, um or nm: 0.227,0.227,1um. Else as SRC says."
    ),
]
Kind = Annotated[str, typer.Option(help="What the voxels are: image or labels.")]
Axes = Annotated[str, typer.Option(help="Order of the source's axes, as in zyx or czyx.")]
Channel = Annotated[
    str,
    typer.Option(help="The one channel to take, its number from 0, else its name; else a layer for each."),
]
Time = Annotated[int | None, typer.Option(help="The one point of time to take, from 0.")]
Work = Annotated[str, typer.Option(help="Work folder; by default DEST.work")]


def ingest(
    source: Source,
    dest: Dest,
    voxel_size: VoxelSize = "",
    kind: Kind = "image",
    axes: Axes = "",
    channel: Channel = "",
    time: Time = None,
    work: Work = "",
    workers: Workers = 0,
    address: Address = "",
    serial: Serial = False,
) -> None:
    """Write what a microscope or another program left as layers.

    Reads TIFF stacks and folders of TIFF planes, OME-Zarr, Zarr, N5, NumPy; with the extra formats HDF5,
    Imaris and NIfTI; with the extra microscopes CZI, ND2 and LIF. What is damaged or missing is named before
    anything is written, and the extent in millimetres is printed: see that it can be true. Several channels
    become DEST/NAME, a layer each. The order of a folder's planes is that of the numbers in their names.

    Example: chunkflow ingest planes/ /data/rat/dapi --voxel-size 0.227,0.227,1um
    """
    given = {"voxel_size": voxel_size, "kind": kind, "axes": axes, "channel": channel, "time": time}
    task = ingest_task(source, given)
    layers = layers_of(task, dest)
    stack = task.stack()
    stack.check()
    console = Console(soft_wrap=True)
    console.print(f"{source}: {task.extent()}", highlight=False)
    job = ingest_job(task, layers, work or f"{full_url(dest)}.work")
    means = Means(workers, address, serial)
    run_plan(open_plan(job, None, means.local_workers), means, Path.cwd(), console)
    for url in layers.values():
        console.print(f"Look at it: chunkflow view {url.removeprefix('file://')}", highlight=False)


def ingest_task(source: str, given: dict[str, Any]) -> Ingest:
    """The task as it is asked for, checked as a job file would be."""
    document = {"job": "ingest", "work": ".", "layers": {"layer": "."}}
    entry = {"ingest": {"source": source, "layer": "layer", **given}}
    task = Job.from_document(document | {"tasks": [entry]}, task_type, Path.cwd()).tasks[0].load()
    assert isinstance(task, Ingest)
    return task


def layers_of(task: Ingest, dest: str) -> dict[str, str]:
    """Where each channel goes, by its number; DEST itself where only one is taken."""
    url, stack = full_url(dest), task.stack()
    if Path(task.source) == Path(url.removeprefix("file://")):
        raise BadInput(f"{task.source} is both what is read and where it is to be written.")
    if stack.channels == 1 or task.channel:
        return {task.channel: url}
    names = stack.facts.names or ("",) * stack.channels
    return {str(number): f"{url}/{name}" for number, name in enumerate(layer_names(names))}


def layer_names(channels: tuple[str, ...]) -> list[str]:
    """Names that folders and jobs can have, each different: as the channels are called, else c0, c1 ..."""
    found: list[str] = []
    for number, channel in enumerate(channels):
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", channel).strip("_.-") or f"c{number}"
        while name in found:
            name += f"_c{number}"
        found.append(name)
    return found


def ingest_job(task: Ingest, layers: dict[str, str], work: str) -> Job:
    """One task for each channel."""
    names = {
        channel: url.rsplit("/", 1)[-1] if len(layers) > 1 else "layer" for channel, url in layers.items()
    }
    fields = task.model_dump(mode="json")
    document = {
        "job": "ingest",
        "work": work,
        "layers": {names[channel]: url for channel, url in layers.items()},
        "tasks": [{"ingest": {**fields, "channel": c, "layer": name}} for c, name in names.items()],
    }
    return Job.from_document(document, task_type, Path.cwd())
