"""What one node of a cluster is and can reach; run on the cluster, it asks every node.

python -m cluster.health.nodes PLACE...
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import psutil

from cluster import probe
from cluster.health.places import try_place
from cluster.workers.connection import join
from cluster.workers.everywhere import ask_each_node
from cluster.workers.nodes import this_place

MARK = "what the nodes say: "
GIB = 2**30


def examine(places: Sequence[str]) -> dict[str, Any]:
    """What this node is, and what becomes of tries at each place."""
    here = probe.here()
    others = importlib.metadata.packages_distributions()
    return {
        "host": here["host"],
        "device": this_place().device,
        "python": here["python"],
        "ray": here["ray"],
        "chunkflow": here["chunkflow"],
        "cores": os.cpu_count(),
        "memory": round(psutil.virtual_memory().total / GIB),
        "packages": {name: sorted(set(others.get(name, []))) for name in probe.PACKAGES},
        "places": {place: asdict(try_place(place)) for place in places},
    }


def main(places: Sequence[str]) -> None:
    join("auto")
    print(MARK + json.dumps(ask_each_node(examine, places)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
