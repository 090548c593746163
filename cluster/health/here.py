"""This machine and this environment: versions, cores, memory and disks, and the faults."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

import chunkflow
from cluster.health.places import reach
from cluster.probe import PACKAGES

OURS = "chunkflow-ray"
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


@dataclass(frozen=True)
class Health:
    """Versions and resources of this machine, the places that it reaches, and the faults that were found."""

    versions: dict[str, str]
    machine: dict[str, str]
    places: dict[str, str]
    """The layer or work folder at each place that was tried, or why it cannot be read."""
    faults: list[str]


def examine_here(places: Sequence[str] = ()) -> Health:
    """Look at this machine and environment, and try to read layers or work folders.

    for fault in examine_here(["data/rat/dapi"]).faults:
        print(fault)
    """
    reached = {place: reach(place) for place in places}
    faults = strangers(importlib.metadata.packages_distributions())
    faults += [f"{place}: {text}" for place, (text, good) in reached.items() if not good]
    return Health(versions(), machine(), {place: text for place, (text, _) in reached.items()}, faults)


def versions() -> dict[str, str]:
    """The versions of chunkflow, Python and the libraries, and where they lie."""
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
    """Cores, memory and disks; in a container those that it was given."""
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
    """Bytes of memory that the control group of this process allows."""
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
