"""What a cluster has on a cloud: a node, a disk, a request for spot nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SHOWN = 5


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


def shown(things: Sequence[Thing]) -> str:
    """The names of the first few, and how many more there are."""
    names = ", ".join(thing.name for thing in things[:_SHOWN])
    more = len(things) - _SHOWN
    return f"{names} and {more} more" if more > 0 else names
