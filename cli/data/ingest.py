"""The command that brings a stack in as a layer, or a layer for each of its channels."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from chunkflow.jobs.ingesting import ingest_job
from chunkflow.jobs.means import Means
from chunkflow.jobs.run import Run
from chunkflow.words import plain
from cli.jobs.run import follow
from cli.options import Address, RestartAll, Serial, WorkersOption, Yes, agreed

SourceArgument = Annotated[
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
KindOption = Annotated[str, typer.Option(help="What the voxels are: image or labels.")]
AxesOption = Annotated[str, typer.Option(help="Order of the source's axes, as in zyx or czyx.")]
Channel = Annotated[
    str,
    typer.Option(help="The one channel to take, its number from 0, else its name; else a layer for each."),
]
Time = Annotated[int | None, typer.Option(help="The one point of time to take, from 0.")]
WorkOption = Annotated[str, typer.Option(help="Work folder; by default DEST.work")]


def ingest(
    source: SourceArgument,
    dest: Dest,
    voxel_size: VoxelSize = "",
    kind: KindOption = "image",
    axes: AxesOption = "",
    channel: Channel = "",
    time: Time = None,
    work: WorkOption = "",
    workers: WorkersOption = 0,
    address: Address = "",
    serial: Serial = False,
    restart: RestartAll = False,
    yes: Yes = False,
) -> None:
    """Write what a microscope or another program left as layers.

    Reads TIFF stacks and folders of TIFF planes, OME-Zarr, Zarr, N5, NumPy; with the extra formats HDF5,
    Imaris and NIfTI; with the extra microscopes CZI, ND2 and LIF. What is damaged or missing is named before
    anything is written, and the extent in millimetres is printed: see that it can be true. Several channels
    become DEST/NAME, a layer each. The order of a folder's planes is that of the numbers in their names.

    Example: chunkflow ingest planes/ /data/rat/dapi --voxel-size 0.227,0.227,1um
    """
    given = {"voxel_size": voxel_size, "kind": kind, "axes": axes, "channel": channel, "time": time}
    ingestion = ingest_job(source, dest, given, work)
    console = Console(soft_wrap=True)
    console.print(f"{source}: {ingestion.extent}", highlight=False)
    means = Means(workers, address, serial)
    cleared = [entry.name for entry in ingestion.job.tasks if restart]
    follow(Run.of(ingestion.job, means, None, cleared, lambda what: yes or agreed(what)), console)
    for url in ingestion.layers:
        console.print(f"Look at it: chunkflow view {plain(url)}", highlight=False)
