"""Further nodes of the Ray cluster of these tests, on this machine: what they have is as they say."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil
import ray
from ray._private.node import Node as Processes
from ray._private.parameter import RayParams
from ray._raylet import GcsClient
from ray.core.generated.gcs_pb2 import GcsNodeInfo, NodeSnapshot

STORE = 80 * 2**20


@dataclass(frozen=True)
class Node:
    """One node that was added."""

    id: str
    raylet: int


def add_node(
    cpus: float = 0, gpus: float = 0, device: str = "", variables: Mapping[str, str] | None = None
) -> Node:
    """Start one more node; one after another, as raylets that start at once race for a socket's name. Ray
    gives up on one that has not started in half a minute, as on a busy machine: it is tried again."""
    for _ in range(3):
        before = _descendants()
        try:
            processes = _started(cpus, gpus, device, variables or {})
            break
        except Exception as error:
            said = error
            _kill(_descendants() - before)
    else:
        raise said
    raylet = processes.all_processes["raylet"][0].process.pid
    for _ in range(600):
        for known in ray.nodes():
            if known["ObjectStoreSocketName"] == processes.plasma_store_socket_name and known["Alive"]:
                return Node(known["NodeID"], raylet)
        time.sleep(0.05)
    raise AssertionError("the node did not come up")


def _started(cpus: float, gpus: float, device: str, variables: Mapping[str, str]) -> Processes:
    context = ray.get_runtime_context()
    return Processes(
        RayParams(
            gcs_address=context.gcs_address,
            redis_address=context.gcs_address,
            num_cpus=cpus,
            num_gpus=gpus,
            resources={f"device:{device}": 1} if device else None,
            object_store_memory=STORE,
            env_vars=dict(variables),
            include_log_monitor=False,
            node_manager_port=0,
            node_ip_address=ray.util.get_node_ip_address(),
            dashboard_agent_listen_port=0,
        ),
        head=False,
        shutdown_at_exit=False,
        spawn_reaper=False,
    )


def _descendants() -> set[psutil.Process]:
    """All that this process has started, and they, and still runs."""
    return set(psutil.Process().children(recursive=True))


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def takes_no_more(node: Node) -> bool:
    """Whether Ray starts nothing on it any more."""
    address = ray.get_runtime_context().gcs_address
    for id, known in GcsClient(address=address).get_all_node_info(timeout=30).items():
        if id.hex() == node.id:
            return bool(
                known.state_snapshot.state == NodeSnapshot.DRAINING or known.state == GcsNodeInfo.DEAD
            )
    return True


def end_node(node: Node) -> None:
    """End it at once with all that runs on it, as when a machine goes."""
    with suppress(psutil.NoSuchProcess):  # a node that Ray has drained may have ended by itself
        raylet = psutil.Process(node.raylet)
        _kill([raylet, *raylet.children(recursive=True)])
