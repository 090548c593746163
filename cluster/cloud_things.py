"""What a cluster has on a cloud: a node, a disk, a request for spot nodes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """One thing that bears the cluster's tag and costs money."""

    kind: str
    name: str
    detail: str
    device: str = ""
    """What it is, as a price table names it; empty where it is no node."""
    is_head: bool = False
    address: str = ""
