"""Clusters that are up on the test SLURM, their files, and small jobs for them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from chunkflow.engine.planning.job import Job
from cluster.place import ClusterPlace
from cluster.providers import load_place
from tests.support.clusters.slurm_site import Site
from tests.support.jobs import make_job, make_layer

CPU = {"partition": "cpu", "cpus": 1, "memory": 1, "most": 3, "preemptable": True}
GPU = CPU | {"partition": "gpu", "most": 2, "gpus": 1, "gpu_type": "small"}
DRIVER = """
import sys
import ray
from ray.autoscaler.sdk import request_resources
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
for line in sys.stdin:
    if line.strip():
        request_resources(bundles=[{"CPU": 1}] * int(line))
    keys = [int(node["Resources"]["NODE_ID_AS_RESOURCE"]) for node in ray.nodes() if node["Alive"]]
    print("nodes", *keys, flush=True)
"""
"""Asks for as many nodes as a line says, and tells after each line what nodes there are."""


def write_file(site: Site, name: str, **keys: object) -> Path:
    """A cluster's file with all pauses short."""
    quick = {"idle": 4, "poll": 1, "patience": 6, "scratch": str(site.folder)}
    document = {"provider": "slurm", "folder": str(site.folder / name), "workers": {"cpu": CPU, "gpu": GPU}}
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
    _driver: subprocess.Popen[str] | None = None

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
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask_for(self, cpus: int) -> None:
        """Let the cluster have nodes of so many CPUs, whatever waits."""
        self._tell(str(cpus))

    def joined(self) -> set[str]:
        """The numbers of the nodes that Ray has."""
        return set(self._tell("").split())

    def _tell(self, word: str) -> str:
        if self._driver is None:
            self._driver = self.python("-c", DRIVER, self.address)
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        print(word, file=self._driver.stdin, flush=True)
        line = next((line for line in self._driver.stdout if line.startswith("nodes ")), "nodes ")
        return line.removeprefix("nodes ")

    def leave(self) -> None:
        """End the process that is connected to it."""
        if self._driver is not None:
            self._driver.communicate()

    def keys(self) -> set[str]:
        """The numbers of the nodes that SLURM runs for it, as Ray should know them."""
        lines = self.site.run("squeue", "--noheader", "--states=RUNNING", "--format=%F %K %j").splitlines()
        jobs = [line.split() for line in lines if f"chunkflow-{self.name}-" in line]
        return {str(int(job) * 10_000 + int(index.replace("N/A", "0"))) for job, index, _ in jobs}


def bring_up(site: Site, path: Path) -> Up:
    up = Up(site, path.stem, load_place(path))
    up.place.up(lambda what: True, up.said.append)
    return up


def small_job(folder: Path, gpus: int = 0, **faulty: object) -> Job:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 1000, (96, 64, 64)).astype(np.uint16)
    layers = {"image": make_layer(folder / "image", image), "labels": str(folder / "labels")}
    marks = folder / "marks"
    marks.mkdir()
    fields = {"image": "image", "labels": "labels", "marks": str(marks), **faulty}
    tasks = [{"tests.support.own_tasks:Faulty": fields}]
    sizes = {"chunk": [16, 32, 32], "storage": [16, 32, 32]}
    return make_job(folder, layers, tasks, **sizes, resources={"Faulty": {"gpus": gpus}})


def job_file(job: Job, folder: Path) -> Path:
    """The job as a file for the command line."""
    entry = job.tasks[0]
    document = {
        "job": job.name,
        "work": job.work,
        "chunk": list(job.chunk or ()),
        "storage": list(job.storage),
        "layers": {name: layer.url for name, layer in job.layers.items()},
        "tasks": [{entry.type: dict(entry.parameters)}],
        "resources": {name: taken.model_dump() for name, taken in job.resources.items()},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
