"""Checks of a cluster's file against this site, before anything is started."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chunkflow.errors import BadInput
from cluster.slurm.file import Request, SlurmFile, Workers, seconds_of
from cluster.slurm.scripts import request_words
from cluster.slurm.site import HEAD, TASKS, SlurmRefused, run_here

_PAIR = re.compile(r"(\w+)=(\S*)")
_GPUS = re.compile(r"\bgpu:(?:([^:,()]+):)?(\d+)")


@dataclass(frozen=True)
class SlurmFacts:
    """Limits and partitions of a SLURM site, as SLURM tells them."""

    longest_array: int
    partitions: dict[str, dict[str, str]]

    @classmethod
    def ask(cls) -> SlurmFacts:
        try:
            config = run_here(["scontrol", "show", "config"])
            lines = run_here(["scontrol", "--oneliner", "show", "partition"]).splitlines()
        except SlurmRefused as error:
            raise BadInput(f"SLURM does not answer here: {error}.") from error
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", config)
        partitions = [dict(_PAIR.findall(line)) for line in lines]
        named = {known["PartitionName"]: known for known in partitions if "PartitionName" in known}
        longest = int(found[1]) - 1 if found else 1000
        return cls(min(longest, TASKS - 1), named)

    def partition(self, name: str) -> dict[str, str] | None:
        """One partition, or the default one; None where the site has no default."""
        if name:
            return self.partitions.get(name)
        return next((known for known in self.partitions.values() if known.get("Default") == "YES"), None)

    def limit(self, request: Request) -> float | None:
        """The seconds that such a job may run; None where nothing limits it."""
        known = self.partition(request.partition) or {}
        default = known.get("DefaultTime", "NONE")
        return seconds_of(request.time or (default if default != "NONE" else known.get("MaxTime", "")))


def check(file: SlurmFile) -> SlurmFacts:
    """Raise BadInput for the first thing that this site would not take."""
    site = SlurmFacts.ask()
    requests: dict[str, Request] = {HEAD: file.head, **file.workers}
    for name, request in requests.items():
        where = HEAD if name == HEAD else f"workers.{name}"
        for complaint in _complaints(site, request):
            raise BadInput(f"{where}: {complaint}")
        _test_only(where, request)
    make_closed_folder(file.folder, ("logs", "asked"))
    return site


def _complaints(site: SlurmFacts, request: Request) -> Iterator[str]:
    known = site.partition(request.partition)
    if known is None and request.partition:
        there = ", ".join(site.partitions)
        yield f"there is no partition {request.partition!r} here; there are {there}."
    if known is None:
        yield f"this site has no default partition; name one of {', '.join(site.partitions)} as `partition`."
        return
    name = known["PartitionName"]
    if known.get("State") not in ("UP", None):
        yield f"the partition {name} is {known['State'].lower()}; choose another, or ask the site."
    most, wanted = seconds_of(known.get("MaxTime", "")), seconds_of(request.time)
    if most is not None and wanted is not None and wanted > most:
        yield f"time {request.time} is over the limit of partition {name}, {known['MaxTime']}; ask for less."
    for key, word, value in (("AllowAccounts", "account", request.account), ("AllowQos", "qos", request.qos)):
        allowed = known.get(key, "ALL")
        if value and allowed != "ALL" and value not in allowed.split(","):
            yield f"the partition {name} takes no {word} {value!r}; it takes {allowed}."
    yield from _too_large(name, request)


def _too_large(partition: str, request: Request) -> Iterator[str]:
    """No node of the partition is as large as a job asks."""
    words = ["sinfo", "--noheader", "--exact", f"--partition={partition}", "--format=%c %m %G"]
    rows = [line.split(maxsplit=2) for line in run_here(words).splitlines()]
    sizes = [(int(cpus.rstrip("+")), int(memory.rstrip("+"))) for cpus, memory, _ in rows]
    if not sizes:
        yield f"the partition {partition} has no nodes."
        return
    cpus, memory = max(size[0] for size in sizes), max(size[1] for size in sizes) / 1024
    if request.cpus > cpus:
        yield f"{request.cpus} cpus are more than any node of partition {partition} has; at most {cpus}."
    if request.memory > memory:
        yield (
            f"{request.memory:g} GiB of memory are more than any node of partition {partition} has; "
            f"at most {memory:.1f}."
        )
    if isinstance(request, Workers) and request.gpus:
        yield from _too_many_gpus(partition, request, [row[2] for row in rows])


def _too_many_gpus(partition: str, request: Workers, nodes: list[str]) -> Iterator[str]:
    """What nodes have, as SLURM says it: gpu:4, or gpu:a100:4(S:0-1),gpu:t4:1."""
    found = [_GPUS.findall(node) for node in nodes]
    kinds = sorted({kind for node in found for kind, _ in node if kind})
    if not any(found):
        yield f"the partition {partition} has no GPUs; choose one that has, or leave gpus out."
    elif request.gpu_type and request.gpu_type not in kinds:
        there = f"it has {', '.join(kinds)}" if kinds else "leave gpu_type out"
        yield f"the partition {partition} has no GPUs of type {request.gpu_type!r}; {there}."
    else:
        most = max(sum(int(n) for kind, n in node if request.gpu_type in ("", kind)) for node in found)
        if request.gpus > most:
            yield f"{request.gpus} gpus are more than any node of partition {partition} has; at most {most}."


def _test_only(where: str, request: Request) -> None:
    """Let SLURM itself judge account, QOS and all else; nothing is queued by that."""
    try:
        run_here(["sbatch", "--test-only", *request_words(request), "--wrap=true"])
    except SlurmRefused as error:
        raise BadInput(
            f"{where}: SLURM refuses such a job: {error}. Change partition, account, qos, time, cpus, memory "
            "or sbatch there; `sacctmgr show associations user=$USER` shows what you may use."
        ) from error


def make_closed_folder(folder: Path, parts: Sequence[str]) -> None:
    """Make a folder, with folders in it, that its owner alone can read and write; raise BadInput where that
    cannot be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            raise BadInput(
                f"folder: {folder} is open to others, and the cluster's token will lie there; run: "
                f"chmod 700 {folder}"
            )
        for part in parts:
            (folder / part).mkdir(exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(
            f"folder: {folder} cannot be written ({error.strerror}); name one of your own on a file system "
            "that all nodes see."
        ) from error
