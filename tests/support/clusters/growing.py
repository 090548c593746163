"""A Ray cluster on this machine that grows and shrinks by Ray's own autoscaler: nodes are more raylets
here, of the types that a cluster's file gives. It is ended by the ids of its processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ray._private.node import Node as Processes
from ray._private.parameter import RayParams
from ray._private.services import node_ip_address_from_perspective
from ray.autoscaler._private.fake_multi_node.node_provider import (
    FAKE_HEAD_NODE_ID,
    FAKE_HEAD_NODE_TYPE,
    FakeMultiNodeProvider,
)

from cluster.workers.capacity import HEAD_ENVIRONMENT
from testbed.moto import free_port

STORE = 80 * 2**20


@dataclass(frozen=True)
class Growing:
    """Where the cluster is, and its processes."""

    address: str
    dashboard: str
    main: psutil.Process

    def raylets(self) -> list[psutil.Process]:
        """Those of workers, the oldest first: the autoscaler has started them, the head's own Ray itself."""
        found = []
        for process in self.main.children(recursive=True) if self.main.is_running() else []:
            try:
                if process.name() == "raylet" and process.ppid() != self.main.pid:
                    found.append(process)
            except psutil.Error:
                continue
        return sorted(found, key=psutil.Process.create_time)


@contextmanager
def growing_cluster(config: dict[str, Any], idle_minutes: float) -> Iterator[Growing]:
    """Start the head of a config of Ray's launcher; its nodes are made on this machine."""
    folder = Path(tempfile.mkdtemp(prefix="cf", dir="/tmp"))  # sockets in it have short names
    # as a process of its own finds it: one that has started Ray takes that Ray's address for the machine's
    address, dashboard = f"{node_ip_address_from_perspective()}:{free_port()}", free_port()
    (folder / "config.yaml").write_text(json.dumps(_on_this_machine(config, address, idle_minutes)))
    command = [sys.executable, __file__, address, str(dashboard), str(folder)]
    environment = {**os.environ, **HEAD_ENVIRONMENT, **_VARIABLES}
    main = psutil.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert main.stdout.readline() == b"up\n"
        yield Growing(address, f"http://127.0.0.1:{dashboard}", main)
    finally:
        processes = [*main.children(recursive=True), main] if main.is_running() else []
        for process in processes:  # all at once: whoever sees another go would start or leave something
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


_VARIABLES = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    "RAY_NODE_TYPE_NAME": FAKE_HEAD_NODE_TYPE,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "PYTHONPATH": os.getcwd(),
}


def _on_this_machine(config: dict[str, Any], address: str, idle_minutes: float) -> dict[str, Any]:
    types = {name: {**kind, "node_config": {}} for name, kind in config["available_node_types"].items()}
    types[FAKE_HEAD_NODE_TYPE] = types.pop(config["head_node_type"])  # the provider knows it by this name
    for kind in types.values():
        kind["resources"] = {**kind["resources"], "object_store_memory": STORE}
        kind["resources"].pop("memory", None)  # this provider takes it for one of the user's own
    provider = {
        "type": "external",  # by its own name Ray looks for an example file, which its wheel lacks
        "module": f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
        "disable_node_updaters": True,
        "gcs_address": address,
        "head_node_id": FAKE_HEAD_NODE_ID,
        "launch_multiple": True,
    }
    return {
        **config,
        "provider": provider,
        "head_node_type": FAKE_HEAD_NODE_TYPE,
        "available_node_types": types,
        "idle_timeout_minutes": idle_minutes,
        "file_mounts": {},
    }


def _head(address: str, dashboard: str, folder: str) -> None:
    """Start a head with its autoscaler, and stay until this process is ended."""
    host, _, port = address.rpartition(":")
    parameters = RayParams(
        node_ip_address=host,
        gcs_server_port=int(port),
        dashboard_port=int(dashboard),
        dashboard_host="127.0.0.1",
        dashboard_agent_listen_port=0,
        include_dashboard=True,
        include_log_monitor=False,
        min_worker_port=0,
        max_worker_port=0,
        num_cpus=0,
        num_gpus=0,
        object_store_memory=STORE,
        temp_dir=folder,
        autoscaling_config=f"{folder}/config.yaml",
    )
    node = Processes(parameters, head=True, shutdown_at_exit=False, spawn_reaper=False)
    print("up", flush=True)
    threading.Event().wait()
    del node


if __name__ == "__main__":
    _head(*sys.argv[1:])
