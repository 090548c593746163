"""Say what this machine and this environment are, what can be reached, and what stands in the way."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

import chunkflow
from chunkflow.errors import ChunkflowError
from chunkflow.storage import Folder
from chunkflow.volume import LayerInfo, Volume, full_url
from cli.layers import kind_of, read_info

OURS = "chunkflow-ray"
PACKAGES = ("chunkflow", "tasks", "cluster", "cli")
LIBRARIES = (
    "ray",
    "numpy",
    "numba",
    "cloud-volume",
    "cloud-files",
    "pyarrow",
    "tensorstore",
    "zmesh",
    "neuroglancer",
    "torch",
)
GIB = 2**30


def doctor(
    layers: Annotated[
        list[str] | None, typer.Argument(metavar="[LAYER]...", help="Layers or work folders to be read.")
    ] = None,
) -> None:
    """Tell versions, cores, memory and disk, and whether layers can be read; name what is wrong.

    Exits with 1 if anything is wrong.

    Example: chunkflow doctor s3://lab/rat/dapi
    """
    console = Console()
    console.print(as_table("versions", versions()))
    console.print(as_table("machine", machine()))
    faults = strangers(importlib.metadata.packages_distributions())
    if layers:
        reached = {layer: reach(layer) for layer in layers}
        console.print(as_table("reachable", {name: text for name, (text, _) in reached.items()}))
        faults += [f"{name}: {text}" for name, (text, good) in reached.items() if not good]
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


def versions() -> dict[str, str]:
    """What runs, and where it lies."""
    found = {
        "chunkflow": f"{chunkflow.__version__} in {Path(chunkflow.__file__).parent}",
        "python": f"{platform.python_version()} in {sys.prefix}",
        "system": platform.platform(),
    }
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed" + (" (only networks need it)" if name == "torch" else "")
    return found


def machine() -> dict[str, str]:
    """What there is to work with; in a container what it was given."""
    memory = psutil.virtual_memory()
    found = {
        "cores": f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}",
        "memory": f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free",
    }
    limit = memory_limit()
    if limit is not None and limit < memory.total:
        found["memory limit"] = f"{limit / GIB:.1f} GiB for this container or job"
    for name, folder in disks().items():
        usage = shutil.disk_usage(folder)
        found[name] = f"{usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB free ({folder})"
    return found


def disks() -> dict[str, Path]:
    """Where files go: here, Ray's own, and the memory that Ray shares between its processes."""
    named = {"disk": Path.cwd(), "temporary": Path(tempfile.gettempdir()), "shared memory": Path("/dev/shm")}
    return {name: folder for name, folder in named.items() if folder.is_dir()}


def memory_limit() -> int | None:
    """What the control group of this process allows, in bytes."""
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return int(Path(file).read_text())
        except (OSError, ValueError):
            continue
    return None


def strangers(distributions: Mapping[str, Sequence[str]]) -> list[str]:
    """Other distributions that install packages of our names: which of the two is imported is chance."""
    faults = []
    for package in PACKAGES:
        others = sorted(set(distributions.get(package, [])) - {OURS})
        for name in others:
            faults.append(
                f"another distribution, {name}, installs a package called {package} as {OURS} does: "
                f"`pip uninstall {name}` and install {OURS} again, or give {OURS} an environment of its own."
            )
    return faults


def reach(location: str) -> tuple[str, bool]:
    """What lies at a place, and whether it could be read."""
    try:
        url = full_url(location)
        folder = Folder(url)
        if folder.get("info") is None:
            work = next(iter(folder.list("ledger")), None)
            return ("a work folder", True) if work else ("nothing is there: no layer, no work folder", False)
        info = read_info(url)
        kind = kind_of(info, url)
        if kind in ("image", "segmentation"):
            return describe_volume(LayerInfo.of_layer(url)), True
        return f"a layer of kind {kind}", True
    except ChunkflowError as error:
        return str(error), False
    except Exception as error:  # missing keys, refused connections: each client has errors of its own
        return f"{type(error).__name__}: {error}", False


def describe_volume(layer: LayerInfo) -> str:
    """One storage chunk is read, so that voxels too, not only the description, are known to be there."""
    size = " x ".join(str(n) for n in layer.bounds.size)
    corner = layer.bounds.clip(type(layer.bounds).of_size(layer.storage, layer.bounds.start))
    Volume(layer).read(corner)
    voxel = " x ".join(f"{v:g}" for v in layer.voxel_size)
    return f"{layer.kind} of {size} voxels of {voxel} nm, {layer.dtype}; a first chunk was read"
