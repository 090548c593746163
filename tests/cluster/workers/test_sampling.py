"""What is measured on a cluster: nodes that do chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import ray

from chunkflow.errors import BadInput
from chunkflow.jobs.planned import open_plan
from cluster.workers.sampling import measure_on_devices
from tests.support.clusters.ray_nodes import add_node, end_node
from tests.support.jobs import make_job, make_layer


def test_a_head_without_cores_is_no_device_to_measure(tmp_path: Path, ray_here: None) -> None:
    """On a cloud it names its device, too, and is all that is up where workers have been idle."""
    make_layer(tmp_path / "image", np.ones((32, 32, 32), np.uint16))
    layers = {"image": str(tmp_path / "image"), "smooth": str(tmp_path / "smooth")}
    tasks = [{"tests.support.own_tasks:Smooth": {"image": "image", "smooth": "smooth"}}]
    plan = open_plan(make_job(tmp_path, layers, tasks, chunk=[32] * 3, storage=[32] * 3))
    head = add_node(cpus=0, device="m5.xlarge")
    try:
        with pytest.raises(BadInput, match=r"or none is up just now.* `least: 1`"):
            measure_on_devices(ray.get_runtime_context().gcs_address, plan, {0: [0]})
    finally:
        end_node(head)
