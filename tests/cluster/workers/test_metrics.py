"""Metrics of a run on a cluster, as Prometheus gets them, and the dashboard that asks for them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml

from cluster.workers import metrics as module
from cluster.workers.metrics import COUNTERS, GAUGES
from tests.support.clusters.ray_head import Head
from tests.support.jobs import make_layer

DASHBOARD = Path(module.__file__).with_name("grafana.json")
EXPORTED = {
    **{f"ray_{name}": tags for name, (_, tags) in GAUGES.items()},
    **{f"ray_{name}_total": tags for name, (_, tags) in COUNTERS.items()},
}
SLOW = """
import time

from chunkflow.task import Image, Out, Task


class Slow(Task):
    '''Copy an image, a chunk a second.'''

    image: Image
    kept: Image = Out()

    def outputs(self, layout):
        return {"kept": layout.info("image")}

    def map(self, cell, image):
        time.sleep(1)
        if cell.index == 0:
            raise ArithmeticError("it never can be done")
        return image
"""


def slow_job(folder: Path) -> Path:
    """Of 216 chunks, a second each."""
    make_layer(folder / "image", np.ones((48, 48, 48), np.uint8), chunk=(8, 8, 8))
    (folder / "slowly.py").write_text(SLOW)
    job = {
        "job": "counted",
        "work": "work",
        "chunk": [8, 8, 8],
        "storage": [8, 8, 8],
        "layers": {"image": "image", "kept": "kept"},
        "tasks": [{"slowly:Slow": {"image": "image", "kept": "kept"}}],
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    return folder / "job.yaml"


def values(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The metrics of chunkflow by name, and by those labels that are ours."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for name, labels, value in re.findall(r"^(ray_chunkflow_\w+)\{(.*)\} (\S+)$", text, re.M):
        named: Mapping[str, str] = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if named["chunkflow_job"] != "counted":  # Ray tells of a job for a while after its end
            continue
        ours = tuple((tag, named[tag]) for tag in EXPORTED[name])
        found.setdefault(name, {})[ours] = float(value)
    return found


def test_a_run_on_a_cluster_is_counted_and_can_be_stopped(tmp_path: Path, head: Head) -> None:
    told = head.chunkflow("submit", slow_job(tmp_path), "--address", head.address)
    assert told.code == 0, told
    try:
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        until = time.monotonic() + 120
        while set(found) != set(EXPORTED) and time.monotonic() < until:
            time.sleep(0.5)
            found = values(head.metrics())
    finally:
        stopped = head.chunkflow("stop", tmp_path / "work")
    assert set(found) == set(EXPORTED)
    chunks = found["ray_chunkflow_chunks"]
    assert sum(chunks.values()) == 216
    done = found["ray_chunkflow_done_total"][(("task", "Slow"),)]
    assert done > 0
    assert chunks[("task", "Slow"), ("state", "done")] == done
    assert found["ray_chunkflow_bytes_total"][("task", "Slow"), ("direction", "in")] == done * 512
    mapped = found["ray_chunkflow_seconds_total"][("task", "Slow"), ("part", "map")]
    assert mapped == pytest.approx(done, rel=0.5), "a second each"
    assert found["ray_chunkflow_failures_total"][("task", "Slow"), ("cause", "bug")] >= 1
    assert 1 <= found["ray_chunkflow_workers"][(("device", ""),)] <= 3
    assert found["ray_chunkflow_dollars"][()] == 0
    assert "It ended: interrupted." in stopped.out, stopped


def test_the_dashboard_asks_for_what_is_exported() -> None:
    board = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    names = {name for expression in asked for name in re.findall(r"ray_chunkflow_\w+", expression)}
    assert names == set(EXPORTED)
    for expression in asked:
        known = {tag for name in re.findall(r"ray_chunkflow_\w+", expression) for tag in EXPORTED[name]}
        used = {
            tag.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for tag in group.split(",")
        }
        assert used <= known, expression
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
