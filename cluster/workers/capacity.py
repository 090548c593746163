"""What a Ray cluster has, and what it may grow to: said where a head with an autoscaler is started, and read
where a job is to run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import psutil
import ray
from ray._private.accelerators import NvidiaGPUAcceleratorManager
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

from chunkflow.engine.pool.staff import Nodes, Room

HEAD_ENVIRONMENT = {
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""For whoever starts a head: a node that dies is known within about three seconds, not thirteen."""

_KEY, _NAMESPACE = "nodes", "chunkflow"


def announce(kinds: Sequence[Mapping[str, float]]) -> None:
    """Say which nodes the cluster that this process has joined may grow to: of each kind what one has for
    workers, as Ray names it (CPU, GPU, memory), and how many there may be (most)."""
    _internal_kv_put(_KEY, json.dumps([dict(kind) for kind in kinds]), namespace=_NAMESPACE)


def announced() -> list[Nodes]:
    """What was announced; empty where nothing was, so where the cluster does not grow."""
    said = _internal_kv_get(_KEY, namespace=_NAMESPACE)
    kinds: list[dict[str, float]] = json.loads(said or "[]")
    return [Nodes(int(kind.pop("most")), kind) for kind in kinds]


def room_here(workers: int) -> Room:
    """This machine; who asks for more workers than it has cores is given them. Where this process has its Ray
    already, what that has, as all runs share it."""
    if ray.is_initialized():
        return Room("Ray in this process", [Nodes(1, node["Resources"]) for node in _up()])
    total = {
        "CPU": float(max(os.cpu_count() or 1, workers)),
        "GPU": float(NvidiaGPUAcceleratorManager.get_current_node_num_accelerators()),
        "memory": float(psutil.virtual_memory().total),
    }
    return Room("this machine", [Nodes(1, total)])


def room_of(address: str) -> Room:
    """The cluster that this process has joined: what it may grow to, else what is up."""
    coming = announced()
    nodes = coming or [Nodes(1, node["Resources"]) for node in _up()]
    return Room(f"the cluster at {address}", nodes, grows=bool(coming))


def _up() -> list[dict[str, Any]]:
    """The nodes of Ray that are up."""
    return [node for node in ray.nodes() if node["Alive"]]
