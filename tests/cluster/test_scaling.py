"""A cluster's file for a cloud, its nodes made on this machine by Ray's fake provider: it grows from
nothing as a job with CPU and GPU tasks asks for nodes, loses some, shrinks to nothing again, and ends
itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from cluster.cloud.cluster import CloudCluster
from cluster.head import Limits, announce_at
from cluster.providers import load_place
from tests.support.clusters import scaling_job
from tests.support.clusters.growing import Growing, growing_cluster
from tests.support.jobs import make_job, make_layer, run_job
from tests.support.same import all_made, assert_all_accounted, assert_same

NODE = {"provider": "gcp", "region": "here", "memory": 4, "cpus": 1, "on_demand": 0.2, "preemptible": 0.1}
PRICES = {"as_of": "2026-01-01", "devices": {"plain": NODE, "gpu": {**NODE, "gpus": 1}}}
FILE = {
    "provider": "gcp",
    "name": "grows",
    "region": "here",
    "zones": ["here-a"],
    "project": "lab",
    "bucket": "gs://lab",
    "head": "plain",
    "prices": "prices.yaml",
    "workers": [{"type": "plain", "most": 2}, {"type": "gpu", "most": 1, "spot": False}],
}
OWN = "tests.support.own_tasks:"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> CloudCluster:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "prices.yaml").write_text(yaml.safe_dump(PRICES))
    (folder / "gcp.yaml").write_text(yaml.safe_dump(FILE))
    place = load_place(folder / "gcp.yaml")
    assert isinstance(place, CloudCluster)
    return place


@pytest.fixture(scope="module")
def growing(cluster: CloudCluster) -> Iterator[Growing]:
    with growing_cluster(cluster.ray_config(), idle_minutes=0.03) as here:
        yield here


def the_job(folder: Path, image: str, pause: float = 0.0) -> Job:
    """A task on plain nodes, one that takes a GPU, and both go on side by side."""
    layers = {"image": image, "smooth": str(folder / "smooth"), "bright": str(folder / "bright")}
    bright = {"image": "smooth", "labels": "bright", "marks": str(folder), "pause": pause}
    smooth = {"image": "image", "smooth": "smooth"}
    return make_job(
        folder,
        layers,
        [{OWN + "Smooth": smooth}, {OWN + "Faulty": bright}],
        chunk=[16, 16, 16],
        storage=[16, 16, 16],
        resources={"Faulty": {"gpus": 1}},
    )


def wait_for(what: Callable[[], bool], seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not what() and time.monotonic() < until:
        time.sleep(0.1)


class Killer(threading.Thread):
    """Ends two nodes of a cluster while they work, as when machines go."""

    def __init__(self, here: Growing) -> None:
        super().__init__(daemon=True)
        self.here = here
        self.killed: list[int] = []
        self.most = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            raylets = self.here.raylets()
            self.most = max(self.most, len(raylets))
            ready = [raylet for raylet in raylets if raylet.pid not in self.killed and _at_work(raylet)]
            if ready and len(self.killed) < 2:
                self.killed.append(ready[0].pid)
                with suppress(psutil.NoSuchProcess):
                    for process in [*ready[0].children(recursive=True), ready[0]]:
                        process.kill()


def _at_work(raylet: psutil.Process) -> bool:
    """Whether it has a worker of the job."""
    try:
        return any(" ".join(child.cmdline()).startswith("ray::Actor") for child in raylet.children())
    except psutil.Error:
        return False


def start_watching(growing: Growing, nodes: str, ended: Path) -> subprocess.Popen[bytes]:
    """What runs on the head to end the cluster once it is idle: then there is a file `ended`."""
    command = [sys.executable, "-m", "cluster.head", "--address", growing.address, "--announce", nodes]
    command += ["--dashboard", growing.dashboard, "--idle-minutes", "0.1", "--look-seconds", "0.5"]
    return subprocess.Popen([*command, "--end", "touch", str(ended)])


def test_it_grows_with_the_work_bears_the_loss_of_nodes_shrinks_and_ends_itself(
    cluster: CloudCluster, growing: Growing, tmp_path: Path
) -> None:
    array = np.random.default_rng(5).integers(0, 1000, (48, 48, 48)).astype(np.uint16)
    image = make_layer(tmp_path / "image", array, chunk=(16, 16, 16))
    job = the_job(tmp_path / "there", image, pause=0.15)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    announce_at(growing.address, cluster.grows_to())
    assert not growing.raylets()

    killer = Killer(growing)
    killer.start()
    run = subprocess.Popen(
        [sys.executable, scaling_job.__file__, str(tmp_path / "job.json"), growing.address],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    wait_for(lambda: bool(growing.raylets()) or run.poll() is not None)
    watcher = start_watching(growing, json.dumps(cluster.grows_to()), tmp_path / "ended")
    assert run.stdout is not None
    said = next((line for line in run.stdout if line.startswith(b"{")), b"{}")  # Ray speaks there, too
    assert not (tmp_path / "ended").exists()
    found = json.loads(said)
    assert found["status"] == "complete"
    assert found["devices"]["Faulty"] == ["gpu"]
    assert set(found["devices"]["Smooth"]) <= {"plain spot", "gpu"}  # a core beside a GPU may be idle
    assert len(killer.killed) == 2
    assert killer.most >= 2
    wait_for(lambda: not growing.raylets() and watcher.poll() is not None)
    killer.over.set()
    assert not growing.raylets()
    assert watcher.poll() == 0
    assert (tmp_path / "ended").exists()

    assert_all_accounted(job)
    state = Ledger.load(Folder(job.work)).state
    assert set().union(*(step.causes for step in state.stages.values())) <= {"node lost", "preempted"}
    here = the_job(tmp_path / "here", image)
    assert run_job(here) == "complete"
    assert_same(all_made(job), all_made(here), "on the cluster")


@pytest.mark.parametrize(
    ("up", "idle", "why"),
    [
        (0, 0, ""),
        (899, 899, ""),
        (5000, 900, "no job has run for 15 minutes"),
        (86400, 0, "its 24 hours are over"),
        (86400, 900, "its 24 hours are over"),
    ],
)
def test_when_a_cluster_must_end(up: float, idle: float, why: str) -> None:
    assert Limits(900, 86400).due(up, idle) == why
