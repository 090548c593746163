"""Bring a microscope's stack in: checked first, its extent told, then made a volume by a one-task job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from chunkflow.describe import open_plan
from chunkflow.errors import BadInput
from chunkflow.job import Job
from chunkflow.volume import full_url
from cli.builtin import task_type
from cli.options import Address, Serial, Workers
from cli.running import Means, run_plan
from tasks.ingest import Ingest


def ingest(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A .npy array, a TIFF stack, or a folder of TIFF planes.")
    ],
    dest: Annotated[str, typer.Argument(metavar="DEST", help="The volume to make: a path or URL.")],
    voxel_size: Annotated[
        str, typer.Option(help="Size of a voxel along x, y, z with its unit, um or nm: 0.227,0.227,1um")
    ],
    axes: Annotated[str, typer.Option(help="Order of the source's axes, as in zyx or czyx.")] = "",
    channel: Annotated[
        int | None, typer.Option(help="The one channel to take, from 0; by default all.")
    ] = None,
    work: Annotated[str, typer.Option(help="Work folder; by default DEST.work")] = "",
    workers: Workers = 0,
    address: Address = "",
    serial: Serial = False,
) -> None:
    """Write a microscope's stack as a volume.

    Every plane's header is looked at first, and the extent in millimetres is printed: see that it can be
    true. An array is taken as z, y, x; a TIFF says itself how its axes lie. The order of a folder's planes is
    that of the numbers in their names.

    Example: chunkflow ingest planes/ /data/rat/dapi --voxel-size 0.227,0.227,1um
    """
    job = ingest_job(source, dest, voxel_size, axes, channel, work)
    console = Console(soft_wrap=True)
    task = job.tasks[0].load()
    assert isinstance(task, Ingest)
    planes = task.stack().check()
    console.print(f"{source}: {planes} planes, {task.extent()}", highlight=False)
    means = Means(workers, address, serial)
    run_plan(open_plan(job, None, means.local_workers), means, Path.cwd(), console)
    console.print(f"Look at it: chunkflow view {dest}", highlight=False)


def ingest_job(
    source: Path, dest: str, voxel_size: str, axes: str = "", channel: int | None = None, work: str = ""
) -> Job:
    """The job of this one task."""
    url = full_url(dest)
    if source.resolve() == Path(url.removeprefix("file://")):
        raise BadInput(f"{source} is both what is read and where it is to be written.")
    task: dict[str, Any] = {"source": str(source), "voxel_size": voxel_size, "axes": axes, "image": "image"}
    if channel is not None:
        task["channel"] = channel
    document = {
        "job": "ingest",
        "work": work or f"{url}.work",
        "layers": {"image": url},
        "tasks": [{"ingest": task}],
    }
    return Job.from_document(document, task_type, Path.cwd())
