"""The node that this process runs on, as its Ray cluster knows it."""

from __future__ import annotations

import ray
from ray import NodeID
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from ray.core.generated.gcs_service_pb2 import GetAllNodeInfoRequest

from chunkflow.engine.queue.cells import WorkerPlace

DEVICE = "device:"
"""Begins the name of the custom resource that says what a node is, as a price table names it."""
ASK_SECONDS = 30.0


def this_place() -> WorkerPlace:
    """Asks for this node alone: thousands of workers that list thousands of nodes are a load."""
    context = ray.get_runtime_context()
    node = context.get_node_id()
    wanted = GetAllNodeInfoRequest.NodeSelector(node_id=NodeID.from_hex(node).binary())
    found = GcsClient(address=context.gcs_address).get_all_node_info(
        timeout=ASK_SECONDS, node_selectors=[wanted]
    )
    (known,) = found.values()
    devices = [name.removeprefix(DEVICE) for name in known.resources_total if name.startswith(DEVICE)]
    return WorkerPlace(node, min(devices, default=""), known.start_time_ms / 1000)


def drain_this_node(why: str) -> None:
    """Let Ray start nothing more on this node, as it is about to be taken; what runs on it goes on."""
    context = ray.get_runtime_context()
    GcsClient(address=context.gcs_address).drain_node(
        context.get_node_id(), DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"), why, 0
    )
