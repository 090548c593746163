"""Runs a job on two nodes of a Ray cluster on this machine, and ends one of them by its process id."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

os.environ |= {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}

import psutil
import ray
from ray.cluster_utils import Cluster

from chunkflow.job import Job
from chunkflow.plan import Plan, spec_of
from cluster.ray_executor import RayExecutor
from tests.support import run_job

STORE = 80 * 2**20


def main() -> int:
    job = Job.model_validate_json(Path(sys.argv[1]).read_text())
    cluster = Cluster(initialize_head=True, head_node_args=_node(0))
    nodes = [cluster.add_node(**_node(1)) for _ in range(2)]  # one after another
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    executors: list[RayExecutor] = []

    def executor(plan: Plan) -> RayExecutor:
        executors.append(RayExecutor(spec_of(plan)))
        return executors[0]

    def kill_node() -> None:
        while not (executors and len(executors[0].pids) == 2):
            time.sleep(0.02)
        time.sleep(0.6)
        raylet = nodes[0].all_processes["raylet"][0].process.pid
        on_it = [pid for pid in executors[0].pids.values() if psutil.Process(pid).ppid() == raylet]
        for pid in (raylet, *on_it):  # all at once, as when a machine goes
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_node)
    killer.start()
    status = run_job(job, executor=executor, workers=2)
    killer.join()
    ray.shutdown()
    for node in (nodes[1], cluster.head_node):
        cluster.remove_node(node, allow_graceful=False)
    print(status)
    return 0 if status == "complete" else 1


def _node(cpus: int) -> dict[str, object]:
    return {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": STORE}


if __name__ == "__main__":
    sys.exit(main())
