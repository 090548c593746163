"""What a Ray cluster has, and what it may grow to; how many workers of each kind that holds.

1. Where a head with an autoscaler is started, the most that its nodes may come to is announced.
2. Kinds that take GPUs are given their share first, with the cores that they need beside.
3. The other kinds share the cores that are left. Each may have all but one worker of every other kind, so
   where there are several, their pool must end idle workers.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil
import ray
from ray._private.accelerators import NvidiaGPUAcceleratorManager
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

from chunkflow.errors import BadInput
from chunkflow.plan import Plan
from chunkflow.resources import Resources

HEAD_ENVIRONMENT = {
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""For whoever starts a head: a node that dies is known within about three seconds, not thirteen."""

IDLE_SECONDS = 60.0
"""After which an idle worker is ended, so that its node can go."""
SHARING_SECONDS = 5.0
"""The same where nodes stay and only workers of other kinds wait for the cores."""
_KEY, _NAMESPACE = "most", "chunkflow"
_NAMES = {"CPU": "cores", "GPU": "GPUs", "memory": "bytes of memory"}


def announce(resources: Mapping[str, float]) -> None:
    """Say what the cluster that this process has joined may grow to, as Ray names it: CPU, GPU, memory."""
    _internal_kv_put(_KEY, json.dumps(dict(resources)), namespace=_NAMESPACE)


def announced() -> dict[str, float]:
    """What was announced; empty where nothing was, so where the cluster does not grow."""
    said = _internal_kv_get(_KEY, namespace=_NAMESPACE)
    return {name: float(amount) for name, amount in json.loads(said).items()} if said else {}


def capacity() -> dict[str, float]:
    """What the cluster has, or may grow to where that is more."""
    most, now = announced(), ray.cluster_resources()
    return {name: max(most.get(name, 0.0), now.get(name, 0.0)) for name in {*most, *now}}


@dataclass(frozen=True)
class Room:
    """Where workers may be placed."""

    where: str
    total: Mapping[str, float]
    largest: Mapping[str, float]
    """The most of each that one node has."""
    grows: bool = False

    @classmethod
    def here(cls, workers: int) -> Room:
        """This machine; who asks for more workers than it has cores is given them."""
        total = {
            "CPU": float(max(os.cpu_count() or 1, workers)),
            "GPU": float(NvidiaGPUAcceleratorManager.get_current_node_num_accelerators()),
            "memory": float(psutil.virtual_memory().total),
        }
        return cls("This machine", total, total)

    @classmethod
    def of_cluster(cls, address: str) -> Room:
        """The cluster that this process is connected to."""
        total, grows = capacity(), bool(announced())
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        largest = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in total}
        return cls(f"The cluster at {address}", total, total if grows else largest, grows)


@dataclass(frozen=True)
class Staff:
    """How many workers of each kind a pool keeps at most, and after how long an idle one is ended."""

    sizes: tuple[int, ...]
    idle_seconds: float | None


def staff_for(plan: Plan, room: Room, workers: int = 0) -> Staff:
    """The workers for a plan in this room, `workers` of each kind at most; refuses what finds no place."""
    for kind, taken in enumerate(plan.worker_kinds):
        if any(stage.worker_kind == kind for stage in plan.stages):
            _refuse_too_large(plan, kind, taken, room)
    sizes = _sizes(plan.worker_kinds, room.total)
    sizes = [min(size, workers) if workers else size for size in sizes]
    cores = sum(size * taken.cpus for size, taken in zip(sizes, plan.worker_kinds, strict=True))
    shared = SHARING_SECONDS if cores > room.total.get("CPU", 0.0) else None
    return Staff(tuple(sizes), IDLE_SECONDS if room.grows else shared)


def needs(taken: Resources) -> dict[str, float]:
    """What one worker takes, as Ray names it."""
    memory = {"memory": math.ceil(taken.memory * 2**30)} if taken.memory else {}
    return {"CPU": taken.cpus} | ({"GPU": taken.gpus} if taken.gpus else {}) | memory


def _refuse_too_large(plan: Plan, kind: int, taken: Resources, room: Room) -> None:
    task = next(plan.steps[stage.step].entry for stage in plan.stages if stage.worker_kind == kind)
    for name, amount in needs(taken).items():
        has = room.largest.get(name, 0.0)
        if amount <= has:
            continue
        if name == "GPU" and not has:
            raise BadInput(
                f"{room.where} has no GPU, and task {task} asks for {taken.gpus:g}. Run it on a cluster that "
                f"has one (--address), or set resources: {{{task}: {{gpus: 0}}}} in the job file."
            )
        of = "may grow to" if room.grows else "has nodes of at most"
        wanted, there = (f"{taken.memory:g} GiB", f"{has / 2**30:.1f} GiB") if name == "memory" else (
            f"{amount:g} {_NAMES[name]}", f"{has:g}"
        )  # fmt: skip
        raise BadInput(
            f"Task {task} asks for {wanted} a worker; {room.where[0].lower()}{room.where[1:]} {of} {there}. "
            f"Change resources: {{{task}: …}} in the job file, or run it where there are larger nodes."
        )


def _sizes(kinds: Sequence[Resources], total: Mapping[str, float]) -> list[int]:
    sizes = [0] * len(kinds)
    left = dict(total)
    gpu_kinds = [kind for kind, taken in enumerate(kinds) if taken.gpus]
    for place, kind in enumerate(gpu_kinds):
        share = left | {"GPU": left.get("GPU", 0.0) / (len(gpu_kinds) - place)}
        sizes[kind] = max(1, _fits(kinds[kind], share))
        for name, amount in needs(kinds[kind]).items():
            left[name] = left.get(name, 0.0) - amount * sizes[kind]
    others = [kind for kind, taken in enumerate(kinds) if not taken.gpus]
    reserved = sum(kinds[kind].cpus for kind in others)
    for kind in others:
        share = left | {"CPU": left.get("CPU", 0.0) - reserved + kinds[kind].cpus}
        sizes[kind] = max(1, _fits(kinds[kind], share))
    return sizes


def _fits(taken: Resources, room: Mapping[str, float]) -> int:
    return int(min((room.get(name, 0.0) + 1e-6) // amount for name, amount in needs(taken).items()))
