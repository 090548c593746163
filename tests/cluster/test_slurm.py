"""A cluster on a real SLURM of three nodes: it grows with the work and shrinks, keeps to itself, and leaves
nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from chunkflow.describe import open_plan
from chunkflow.errors import BadInput
from chunkflow.job import Job
from chunkflow.ledger import Ledger
from chunkflow.storage import Folder
from cluster.place import ClusterPlace, load_place
from tests.same import all_made, assert_all_accounted, assert_same
from tests.slurm_cluster import Site, slurm_site, wait_until
from tests.support import make_job, make_layer, run_job

CPU = {"partition": "cpu", "cpus": 1, "memory": 1, "most": 3}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with slurm_site() as running:
        yield running


def write_file(site: Site, name: str, **keys: object) -> Path:
    """A cluster's file with all pauses short."""
    quick = {"idle": 4, "poll": 1, "patience": 6, "scratch": str(site.folder)}
    document = {"provider": "slurm", "folder": str(site.folder / name), "workers": {"cpu": CPU}}
    path = site.folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document | {"head": {"cpus": 1, "memory": 2}} | quick | keys))
    return path


@dataclass
class Up:
    """A cluster that is up."""

    site: Site
    name: str
    place: ClusterPlace
    said: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.site.folder / self.name

    @property
    def address(self) -> str:
        return (self.folder / "address").read_text().split()[0]

    def jobs(self, group: str) -> list[str]:
        return self.site.jobs(f"chunkflow-{self.name}-{group}")

    def python(self, *words: str) -> subprocess.Popen[str]:
        """A process that finds the cluster's token."""
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "token")}
        return subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, **token},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask_for(self, cpus: int) -> str:
        """Let the cluster have nodes for so many workers of one CPU, whatever waits; says what nodes it has."""
        code = (
            "import ray; from ray.autoscaler.sdk import request_resources;"
            f"ray.init('{self.address}', log_to_driver=False);"
            f"request_resources(bundles=[{{'CPU': 1}}] * {cpus});"
            "print([int(n['Resources']['NODE_ID_AS_RESOURCE']) for n in ray.nodes() if n['Alive']])"
        )
        process = self.python("-c", code)
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output.splitlines()[-1]


def bring_up(site: Site, path: Path) -> Up:
    up = Up(site, path.stem, load_place(path))
    up.place.up(lambda what: True, up.said.append)
    return up


@pytest.fixture(scope="module")
def cluster(site: Site) -> Up:
    return bring_up(site, write_file(site, "first"))


def small_job(folder: Path, **faulty: object) -> Job:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 1000, (96, 64, 64)).astype(np.uint16)
    layers = {"image": make_layer(folder / "image", image), "labels": str(folder / "labels")}
    marks = folder / "marks"
    marks.mkdir()
    fields = {"image": "image", "labels": "labels", "marks": str(marks), **faulty}
    tasks = [{"tests.tasks_for_tests:Faulty": fields}]
    return make_job(folder, layers, tasks, chunk=[16, 32, 32], storage=[16, 32, 32])


def run_on(cluster: Up, job: Job, folder: Path) -> subprocess.Popen[str]:
    """Begin to run a job there, by the command line."""
    entry = job.tasks[0]
    layers = {name: layer.url for name, layer in job.layers.items()}
    document = {
        "job": job.job,
        "work": job.work,
        "chunk": list(job.chunk or ()),
        "storage": list(job.storage),
        "layers": layers,
        "tasks": [{entry.type: dict(entry.parameters)}],
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return cluster.python("-m", "cli.main", "run", str(path), "--address", cluster.address)


def test_what_a_site_would_refuse_is_said_before_anything_runs(site: Site) -> None:
    def refusal(**keys: object) -> str:
        path = write_file(site, "refused", **keys)
        with pytest.raises(BadInput) as raised:
            load_place(path).up(lambda what: True, lambda line: None)
        return str(raised.value)

    assert "no partition 'gpu' here; there are cpu, spare, closed" in refusal(
        workers={"cpu": CPU | {"partition": "gpu"}}
    )
    assert "over the limit of partition cpu, 01:00:00" in refusal(workers={"cpu": CPU | {"time": "2:00:00"}})
    assert "more than any node of partition cpu has; at most 4" in refusal(
        workers={"cpu": CPU | {"cpus": 64}}
    )
    assert "at most 5.9" in refusal(workers={"cpu": CPU | {"memory": 64}})
    assert "has no GPUs" in refusal(workers={"cpu": CPU | {"gpus": 1}})
    assert "the partition closed is down" in refusal(workers={"cpu": CPU | {"partition": "closed"}})
    assert "Invalid account" in refusal(workers={"cpu": CPU | {"account": "other"}})
    assert refusal(head={"partition": "gpu"}).startswith("head: there is no partition")
    assert "cannot be written" in refusal(folder="/proc/cluster")
    assert not (site.folder / "refused").exists()
    assert not site.jobs()


def test_nothing_is_started_without_consent(site: Site) -> None:
    asked: list[str] = []
    place = load_place(write_file(site, "asked"))
    place.up(lambda what: bool(asked.append(what)), lambda line: None)
    assert re.search(r"head job of 1 CPUs that runs up to 0.5 h .* at most 3 of cpu", asked[0])
    assert not site.jobs()
    assert place.status() == [
        f"Nothing of the cluster asked is there; chunkflow cluster up {site.folder}/asked.yaml"
    ]
    assert place.down(lambda line: None) == 0


def test_a_job_gets_its_workers_and_gives_them_back(cluster: Up, tmp_path: Path) -> None:
    """From none to some to none, and the same as one process makes."""
    (tmp_path / "serial").mkdir()
    (tmp_path / "slurm").mkdir()
    reference = small_job(tmp_path / "serial")
    assert run_job(reference) == "complete"
    job = small_job(tmp_path / "slurm", pause=0.3)
    assert not cluster.jobs("cpu")
    process = run_on(cluster, job, tmp_path / "slurm")
    most = 0
    while process.poll() is None:
        most = max(most, len(cluster.jobs("cpu")))
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert 1 <= most <= 3
    assert_same(all_made(job), all_made(reference), "on SLURM")
    assert_all_accounted(job, clean=True)
    wait_until(lambda: not cluster.jobs("cpu"), "idle workers to be given back")
