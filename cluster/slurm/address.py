"""The address by which other nodes reach this one; a head's batch script asks for it."""

from __future__ import annotations

import os
import re
import socket
import subprocess

import ray.util


def node_address() -> str:
    """As SLURM reaches this node; where that is not known here, the address of its way out."""
    name = os.environ.get("SLURMD_NODENAME", "")
    try:
        words = ["scontrol", "--oneliner", "show", "node", name]
        said = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    found = re.search(r"NodeAddr=(\S+)", said)
    if found is None:
        return str(ray.util.get_node_ip_address())
    try:
        address = socket.gethostbyname(found[1])
    except OSError:
        return str(ray.util.get_node_ip_address())
    # many machines give their own name the loopback address, by which nobody else can reach them
    own_name_only = address.startswith("127.") and address != found[1]
    return str(ray.util.get_node_ip_address()) if own_name_only else address


if __name__ == "__main__":
    print(node_address())
