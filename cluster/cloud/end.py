"""Ends a cloud's nodes from inside: `cluster` ends all workers and then the head, on which it is run; `node`
ends the node on which it is run.

On AWS a node that shuts down is terminated, as it was started so. On GCP one that shuts down is kept, and its
disk is paid for, so it asks for its own deletion.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler.tags import NODE_KIND_WORKER, TAG_RAY_NODE_KIND

from cluster.cloud.nodes import CONFIG

END_SECONDS = 120.0
"""So long workers are ended again, as the autoscaler may start some in the meantime. Those that it starts
still end themselves when the head is gone."""


def end_workers(config: dict[str, Any], seconds: float = END_SECONDS) -> None:
    """End all worker nodes of the cluster of this config."""
    provider = _get_node_provider(config["provider"], config["cluster_name"])
    until = time.monotonic() + seconds
    while nodes := provider.non_terminated_nodes({TAG_RAY_NODE_KIND: NODE_KIND_WORKER}):
        print(f"ending {len(nodes)} workers", flush=True)
        provider.terminate_nodes(nodes)
        if time.monotonic() > until:
            return
        time.sleep(2.0)


def end_node(provider: str) -> None:
    """End the node that this runs on."""
    if provider == "gcp":
        from cluster.cloud.gcp import delete_this_node

        delete_this_node()
    else:
        subprocess.run(["sudo", "shutdown", "-h", "now"], check=True)


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m cluster.cloud.end", description=__doc__)
    parser.add_argument("what", choices=("cluster", "node"))
    parser.add_argument("--provider", choices=("aws", "gcp"), required=True)
    given = parser.parse_args(words)
    if given.what == "cluster":
        end_workers(yaml.safe_load(Path(CONFIG).expanduser().read_text()))
    end_node(given.provider)


if __name__ == "__main__":
    main(sys.argv[1:])
