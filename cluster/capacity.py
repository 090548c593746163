"""What a Ray cluster has, and what it may grow to: said where a head with an autoscaler is started, and read
where a job is to run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import psutil
import ray
from ray._private.accelerators import NvidiaGPUAcceleratorManager
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

from cluster.staff import Room

HEAD_ENVIRONMENT = {
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""For whoever starts a head: a node that dies is known within about three seconds, not thirteen."""

_KEY, _NAMESPACE = "most", "chunkflow"


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


def room_here(workers: int) -> Room:
    """This machine; who asks for more workers than it has cores is given them."""
    total = {
        "CPU": float(max(os.cpu_count() or 1, workers)),
        "GPU": float(NvidiaGPUAcceleratorManager.get_current_node_num_accelerators()),
        "memory": float(psutil.virtual_memory().total),
    }
    return Room("this machine", total, total)


def room_of(address: str) -> Room:
    """The cluster that this process has joined."""
    total, grows = capacity(), bool(announced())
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    largest = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in total}
    return Room(f"the cluster at {address}", total, total if grows else largest, grows)
